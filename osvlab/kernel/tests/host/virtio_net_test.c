// The driver of network cards against a device written from the other side of the specification:
// an honest one, one with an old layout, one whose cable is pulled, and ones that lie.

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "network_seen.h"
#include "virtio.h"

enum { RECEIVE, SEND };
enum { NEXT = 1, WRITES = 2 };
enum { CONFIG_STATUS = 6, CONFIG_MTU = 10 };

#define ANY_LAYOUT VIRTIO_ANY_LAYOUT
#define MTU (1UL << 3)
#define MAC (1UL << 5)
#define MERGE (1UL << 15)
#define STATUS (1UL << 16)

static const u8 our_mac[6] = {2, 0, 0, 0, 0, 2};

// --- The device ---

struct ring {
    u16 size, seen, returned;
    struct virtqueue_descriptor *descriptors;
    u16 *available, *used;
};

static struct card {
    struct virtio_device device; // first, so that a pointer to it is one to the card
    struct ring rings[2];
    u64 offered;
    u8 status, config[12];
    unsigned notified[2], watched;
    struct interface *interface;
} *card;

static u8 get_status(struct virtio_device *d) {
    return ((struct card *)d)->status;
}
static void set_status(struct virtio_device *d, u8 status) {
    ((struct card *)d)->status = status;
}
static u64 get_features(struct virtio_device *d) {
    return ((struct card *)d)->offered;
}
static void accept_features(struct virtio_device *d, u64 features) {
    CHECK(features & ~((struct card *)d)->offered, 0);
}
static u64 read_config(struct virtio_device *d, size_t offset, size_t size) {
    u64 value = 0;
    CHECK(offset + size <= sizeof(card->config), true);
    memcpy(&value, ((struct card *)d)->config + offset, size);
    return value;
}
static u16 queue_size(struct virtio_device *d, u16 queue) {
    (void)d;
    return queue < 2 ? 256 : 0;
}
static int start_queue(struct virtio_device *d, u16 queue, u16 size, u64 physical) {
    u8 *memory = PHYSICAL_TO_VIRTUAL(physical);
    ((struct card *)d)->rings[queue] = (struct ring){
        .size = size,
        .descriptors = (void *)memory,
        .available = (void *)(memory + virtqueue_available_offset(size)),
        .used = (void *)(memory + virtqueue_used_offset(size)),
    };
    return 0;
}
static void notify(struct virtio_device *d, u16 queue) {
    ((struct card *)d)->notified[queue]++;
}
static int watch_config(struct virtio_device *d) {
    ((struct card *)d)->watched++;
    return 0;
}
static const struct virtio_transport transport = {
    .status = get_status,
    .set_status = set_status,
    .features = get_features,
    .accept_features = accept_features,
    .read_config = read_config,
    .queue_size = queue_size,
    .start_queue = start_queue,
    .notify = notify,
    .watch_config = watch_config,
};

// The next buffer the driver has put into a ring: all of its pieces as one. False: there is none.
struct piece {
    u16 head;
    u8 *data[2];
    u32 size[2];
};
static bool next_buffer(struct ring *ring, bool writes, struct piece *out) {
    *out = (struct piece){0};
    if (ring->seen == ring->available[1])
        return false;
    u16 at = out->head = ring->available[2 + ring->seen++ % ring->size];
    for (int i = 0;; i++) {
        const struct virtqueue_descriptor *d = &ring->descriptors[at];
        CHECK(i < 2 && !!(d->flags & WRITES) == writes, true);
        out->data[i] = PHYSICAL_TO_VIRTUAL(d->physical);
        out->size[i] = d->size;
        if (!(d->flags & NEXT))
            return true;
        at = d->next;
    }
}

static void put_back(struct ring *ring, u32 head, u32 length) {
    const u32 entry[2] = {head, length};
    memcpy(&ring->used[2 + 4 * (ring->returned % ring->size)], entry, 8);
    ring->used[1] = ++ring->returned;
}

static u32 header_size(void) {
    return card->device.legacy && !(card->offered & MERGE) ? 10 : 12;
}

// A frame arrives as the specification says; what is told of it may be another matter.
struct lie {
    int buffers;     // added to their number
    int first, last; // added to the length of that buffer
    u8 segmentation;
};
static unsigned give(const void *frame, size_t size, struct lie lie) {
    struct ring *ring = &card->rings[RECEIVE];
    u8 all[20000] = {0}, *header_buffers = NULL;
    size_t left = header_size() + size, at = 0;
    struct piece piece;
    unsigned count = 0;

    all[1] = lie.segmentation;
    memcpy(all + header_size(), frame, size);
    for (; left; count++) {
        CHECK(next_buffer(ring, true, &piece), true);
        u32 filled = 0;
        for (int i = 0; i < 2; i++) {
            u32 some = (u32)MIN(left, (size_t)piece.size[i]);
            if (some)
                memcpy(piece.data[i], all + at, some);
            at += some, left -= some, filled += some;
        }
        header_buffers = count ? header_buffers : piece.data[0] + 10;
        filled += (count == 0 ? lie.first : 0) + (left == 0 ? lie.last : 0);
        put_back(ring, piece.head, filled);
    }
    if (card->offered & MERGE) {
        u16 told = (u16)(count + lie.buffers);
        memcpy(header_buffers, &told, 2);
    }
    return count;
}

// --- The driver's surroundings ---

static struct list unplugged = LIST(unplugged);
static unsigned found, link_ups;
void network_found(struct interface *interface) {
    found++;
    card->interface = interface;
}
void network_link_up(struct interface *interface) {
    CHECK(interface == card->interface, true);
    link_ups++;
}
void *pages_allocate(size_t count) {
    void *pages = aligned_alloc(PAGE_SIZE, count * PAGE_SIZE);
    memset(pages, 0, count * PAGE_SIZE);
    return pages;
}
void pages_free(void *pages, size_t count) {
    (void)count;
    free(pages);
}
int virtio_block_start(struct virtio_device *device) {
    (void)device;
    return -ENODEV;
}
void virtio_mmio_probe(void) {}
void virtio_pci_probe(void) {}

// --- Steps ---

static void plug_in(u64 offered, bool legacy, u16 mtu) {
    card = calloc(1, sizeof(*card));
    card->device =
        (struct virtio_device){.kind = VIRTIO_NETWORK, .transport = &transport, .legacy = legacy};
    card->offered = offered | MAC | (legacy ? 0 : VIRTIO_VERSION_1) | (mtu ? MTU : 0);
    memcpy(card->config, our_mac, 6);
    memcpy(shim_card.mac, our_mac, 6);
    card->config[CONFIG_STATUS] = 1;
    memcpy(card->config + CONFIG_MTU, &mtu, 2);
    virtio_found(&card->device);
    CHECK(!!card->interface, true);
    network_lock();
    interface_set_address(card->interface, shim_address(US), shim_address(MASK));
    network_unlock();
    struct piece announcement;
    CHECK(next_buffer(&card->rings[SEND], false, &announcement), true);
    put_back(&card->rings[SEND], announcement.head, 0);
}

static void poll(void) {
    network_lock();
    card->interface->poll(card->interface);
    network_unlock();
}

static bool is_running(void) {
    return card->interface->flags & IFF_RUNNING;
}

// Ends with a lie that no driver survives; all packets must have been given back then.
static void unplug(void) {
    put_back(&card->rings[RECEIVE], 70000, 0);
    poll();
    CHECK(card->interface->flags & (IFF_UP | IFF_RUNNING), 0);
    CHECK(card->status, 128);
    CHECK(packets_in_use(), 0);
    poll();                           // nothing more happens
    card->interface->flags |= IFF_UP; // somebody insists
    struct packet *packet = packet_allocate(100);
    packet_put(packet, 100);
    packet->interface = card->interface;
    network_lock();
    CHECK(interface_transmit(card->interface, packet), -ENOBUFS);
    network_unlock();
    CHECK(packets_in_use(), 0);
    interface_set_address(card->interface, 0, 0);
    list_remove(&card->interface->link);
    list_append(&unplugged, &card->interface->link); // drivers are for ever; no leak
    for (int i = 0; i < 2; i++)
        free(card->rings[i].descriptors);
    free(card);
}

static u8 frame[20000];

static size_t datagram(size_t size) {
    static u8 payload[16000];
    for (size_t i = 0; i < size; i++)
        payload[i] = (u8)(i * 31 + i / 256);
    return shim_ipv4(frame, PEER, US, IP_UDP, 0, payload, size);
}

static void arrives(size_t size) {
    give(frame, datagram(size), (struct lie){0});
    poll();
    expect_packets(1);
    CHECK(seen.length, size);
    CHECK(memcmp(seen.data, frame + 14 + IPV4_HEADER, size), 0);
}

// --- Tests ---

static void test_frames_in_one_buffer(void) {
    const struct {
        u64 offered;
        bool legacy;
    } kinds[] = {
        {0, false},   {MERGE, false}, {ANY_LAYOUT, true}, {0, true}, {MERGE | ANY_LAYOUT, true},
        {MERGE, true}};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        plug_in(kinds[i].offered, kinds[i].legacy, 0);
        CHECK(card->interface->mtu, 1500);
        for (size_t size = 26; size <= 1480; size += 57)
            arrives(size);
        CHECK(card->interface->received.errors, 0);
        unplug();
    }
}

static void test_large_frames(void) {
    plug_in(0, false, 9000);
    arrives(8980);
    unplug();
    plug_in(MERGE, false, 9000);
    CHECK(card->interface->mtu, 9000);
    for (size_t size = 26; size <= 8980; size += 111)
        arrives(size);
    arrives(8980);
    CHECK(give(frame, datagram(8980), (struct lie){0}), 6); // 1514 and the header fit in each
    poll();
    expect_packets(1);
    give(frame, datagram(9100), (struct lie){0}); // larger than the MTU
    poll();
    expect_packets(0);
    CHECK(card->interface->received.errors, 1);
    unplug();
    plug_in(MTU, false, 20); // no such networks
    CHECK(card->interface->mtu, 576);
    unplug();
}

static void test_lies(void) {
    const struct {
        size_t size;
        struct lie lie;
    } lies[] = {
        {100, {.buffers = -1}},                  // none at all
        {100, {.buffers = 1}},                   // more than there are
        {100, {.buffers = 40000}},               //
        {5000, {.buffers = 1}},                  //
        {5000, {.buffers = 126}},                // as many as were posted
        {100, {.first = -200000000}},            // as if very long
        {100, {.first = -(int)(100 + 34 + 12)}}, // nothing was written
        {100, {.first = -(100 + 34)}},           // a header alone
        {100, {.first = -(100 + 21)}},           // less than an Ethernet header
        {100, {.first = 5000}},                  // more than fits
        {5000, {.first = 1}},                    //
        {5000, {.last = 5000}},                  //
        {8980, {.last = 1}},                     // more than the MTU allows
        {100, {.segmentation = 1}},              // as was not agreed
    };

    plug_in(MERGE, false, 9000);
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        u64 before = card->interface->received.errors;
        give(frame, datagram(lies[i].size), lies[i].lie);
        poll();
        expect_packets(0);
        CHECK(card->interface->received.errors, before + 1);
        arrives(700);
        arrives(5000);
    }
    CHECK(is_running(), true);
    // Fewer than there are: the rest is taken for frames, which they are not.
    give(frame, datagram(5000), (struct lie){.buffers = -2});
    poll();
    expect_packets(0);
    arrives(700);
    unplug();
}

static void test_lies_at_random(void) {
    for (int round = 0; round < 500; round++) {
        plug_in(shim_pick(2) ? MERGE : 0, shim_pick(2), shim_pick(2) ? 9000 : 0);
        for (int i = 0; i < 200; i++) {
            struct lie lie = {
                .buffers = (int)shim_pick(4) - 1,
                .first = shim_pick(3) ? 0 : (int)shim_pick(4000) - 2000,
                .last = shim_pick(3) ? 0 : (int)shim_pick(4000) - 2000,
                .segmentation = !shim_pick(20),
            };
            size_t size = datagram(shim_pick(card->interface->mtu - 20));
            give(frame, size, lie);
            if (shim_pick(3) == 0)
                poll();
        }
        poll();
        CHECK(is_running(), true);
        CHECK(packets_in_use() <= 128, true);
        seen.packets = 0;
        arrives(100);
        unplug();
    }
}

static int send_numbered(u32 number) {
    struct packet *packet = packet_allocate(60);
    memcpy(packet_put(packet, 60), &number, 4);
    packet->interface = card->interface;
    return interface_transmit(card->interface, packet);
}

static void take_sent(u32 expected) {
    struct piece piece;
    u32 number;
    CHECK(next_buffer(&card->rings[SEND], false, &piece), true);
    CHECK(piece.size[0], 60 + header_size());
    memcpy(&number, piece.data[0] + header_size(), 4);
    CHECK(number, expected);
    put_back(&card->rings[SEND], piece.head, 0);
}

// The queue's 256, then the backlog's 256; what is more is refused, and what is kept goes in order.
static void test_a_device_that_does_not_take_what_is_sent(void) {
    plug_in(0, false, 0);
    network_lock();
    for (u32 i = 0; i < 512; i++)
        CHECK(send_numbered(i), 0);
    CHECK(send_numbered(512), -ENOBUFS);
    CHECK(card->interface->sent.dropped, 1);
    network_unlock();
    poll();
    for (u32 i = 0; i < 512; i++) {
        take_sent(i);
        if (i == 255)
            poll(); // the backlog moves up
    }
    network_lock();
    CHECK(send_numbered(513), 0);
    network_unlock();
    take_sent(513);
    unplug();
}

static void set_link(bool up) {
    card->config[CONFIG_STATUS] = up;
    virtio_interrupted(&card->device, true);
    poll();
}

static void test_the_cable(void) {
    plug_in(STATUS, false, 0);
    CHECK(card->watched, 1);
    CHECK(is_running(), true);
    link_ups = 0;
    size_t wakes = shim_wakes;
    set_link(false);
    CHECK(shim_wakes > wakes, true);
    CHECK(is_running(), false);
    arrives(100); // what came before is still worth reading
    set_link(false);
    CHECK(link_ups, 0);
    set_link(true);
    CHECK(is_running(), true);
    set_link(true);
    CHECK(link_ups, 1);
    unplug();
    plug_in(0, false, 0); // a device that does not tell is plugged in
    set_link(false);
    CHECK(is_running(), true);
    unplug();
}

int main(void) {
    test_frames_in_one_buffer();
    test_large_frames();
    test_lies();
    test_lies_at_random();
    test_a_device_that_does_not_take_what_is_sent();
    test_the_cable();
    CHECK(found > 0, true);
    puts("ok");
}
