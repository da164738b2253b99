// Network cards: virtio network devices (virtio 1.2 section 5.1).
//
// A frame travels in one buffer, behind a small header that lies in the packet's headroom: frames
// are received into packets and sent from them, never copied; only one that is larger than a packet
// of the pool arrives in several buffers and is put together. Receiving is by polling, in the
// network thread; the device interrupts only when it puts something into an empty queue. Sending
// asks for no interrupts at all: packets that the device is done with are freed when the next
// ones are sent, and only when frames had to be kept back does the queue ask to be woken.
//
// Invariant: everything here but the interrupt handler runs with the network lock held. A packet
// belongs to us or to the device, whose word is taken for two numbers only, the length of what it
// has written and in how many buffers, and those are checked.

#include <net/if.h>
#include <string.h>

#include "files/vnode.h"
#include "memory.h"
#include "network/interface.h"
#include "network/network.h"
#include "print.h"
#include "virtio.h"

#define FEATURE_CHECKSUM (1UL << 0)       // completes checksums of what we send
#define FEATURE_GUEST_CHECKSUM (1UL << 1) // and we accept packets without one
#define FEATURE_MTU (1UL << 3)
#define FEATURE_MAC (1UL << 5)
#define FEATURE_MERGE (1UL << 15)  // a frame may arrive in several buffers
#define FEATURE_STATUS (1UL << 16) // tells whether the cable is plugged in

enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_MTU = 10 };
enum { STATUS_LINK_UP = 1 };
enum { RECEIVE, SEND }; // queues
enum { HEADER_NEEDS_CHECKSUM = 1, HEADER_DATA_VALID = 2 };

#define QUEUE_SIZE 256
#define RECEIVE_BUFFERS 128 // of them are posted
#define BACKLOG_MOST 256
#define POLL_MOST 64 // frames in one turn
#define ETHERNET_HEADER 14UL
#define MTU_DEFAULT 1500U
#define BUFFER_SIZE (ETHERNET_HEADER + MTU_DEFAULT) // at least, of those that are merged
#define MTU_LEAST 576U
#define MTU_MOST 9000U

struct header { // in front of each frame, both ways
    u8 flags, segmentation;
    u16 header_length, segment_size;
    u16 checksum_start, checksum_offset;
    u16 buffers; // not there in legacy devices that do not merge
};

struct nic {
    struct interface interface;
    struct virtio_device *device;
    struct virtqueue receive, send;
    u32 header_size;
    bool apart;  // an old device wants the header in a buffer of its own
    bool merges; // frames over several buffers
    bool dead;   // it broke the rules and was switched off
    volatile bool configured_anew;
    unsigned posted;
    struct list backlog; // frames that the send queue had no room for
    unsigned waiting;
};

static void tell(struct nic *nic, struct virtqueue *queue, u16 number) {
    if (virtqueue_must_notify(queue))
        nic->device->transport->notify(nic->device, number);
}

// Hands a packet with its header in front to the device.
static int add(struct nic *nic, struct virtqueue *queue, struct packet *packet, u32 frame_size,
               bool receives) {
    u64 physical = VIRTUAL_TO_PHYSICAL(packet->data) - nic->header_size;
    bool apart = nic->apart && !(receives && nic->merges);
    struct virtqueue_buffer buffers[2] = {
        {physical, nic->header_size + (apart ? 0 : frame_size), receives},
        {physical + nic->header_size, frame_size, receives},
    };

    return virtqueue_add(queue, buffers, apart ? 2 : 1, NULL, 0, packet);
}

static struct header *header_of(const struct nic *nic, struct packet *packet) {
    return (struct header *)(packet->data - nic->header_size);
}

// --- Receiving ---

static u32 room_in(const struct packet *packet) {
    return (u32)(packet->storage + packet->capacity - packet->data);
}

static void refill(struct nic *nic) {
    size_t size = nic->merges ? BUFFER_SIZE : ETHERNET_HEADER + nic->interface.mtu;

    while (nic->posted < RECEIVE_BUFFERS) {
        struct packet *packet = packet_allocate(size);
        if (!packet)
            break; // those that are there come back
        if (add(nic, &nic->receive, packet, room_in(packet), true) < 0) {
            packet_free(packet);
            break;
        }
        nic->posted++;
    }
    tell(nic, &nic->receive, RECEIVE);
}

static struct packet *take_buffer(struct nic *nic, u32 *written) {
    struct packet *packet = virtqueue_take(&nic->receive, written);

    if (packet)
        nic->posted--;
    return packet;
}

static bool append(struct packet *whole, const void *data, u32 size) {
    void *room = whole ? packet_put(whole, size) : NULL;

    if (room)
        memcpy(room, data, size);
    return room;
}

// Puts a frame together whose first buffer is `first`. The others are there too (section 5.1.6.4)
// and have no header; they are taken whatever is wrong, so that the next frame is found.
static struct packet *merge(struct nic *nic, struct packet *first, unsigned buffers, bool good) {
    struct packet *whole = good ? packet_allocate(ETHERNET_HEADER + nic->interface.mtu) : NULL;
    u32 written;

    good = append(whole, first->data, first->length) && buffers != 0;
    packet_free(first);
    for (unsigned n = 1; n < buffers; n++) {
        struct packet *part = take_buffer(nic, &written);
        good = good && part && written <= nic->header_size + room_in(part) &&
               append(whole, header_of(nic, part), written);
        if (!part)
            break;
        packet_free(part);
    }
    if (!good && whole)
        packet_free(whole);
    return good ? whole : NULL;
}

// The frame that begins in this buffer, or NULL.
static struct packet *frame_from(struct nic *nic, struct packet *packet, u32 written) {
    const struct header *header = header_of(nic, packet);
    unsigned buffers = nic->merges ? header->buffers : 1;
    bool good = written >= nic->header_size + ETHERNET_HEADER &&
                written <= nic->header_size + room_in(packet) && !header->segmentation;
    bool checksum_good = nic->device->accepted & FEATURE_GUEST_CHECKSUM &&
                         header->flags & (HEADER_NEEDS_CHECKSUM | HEADER_DATA_VALID);

    packet->length = good ? written - nic->header_size : 0;
    if (!good || buffers != 1)
        packet = merge(nic, packet, buffers, good);
    if (packet)
        packet->checksum_good = checksum_good;
    return packet;
}

static void poll_receive(struct nic *nic) {
    struct packet *packet;
    u32 written;

    for (unsigned n = 0; n < POLL_MOST; n++) {
        packet = take_buffer(nic, &written);
        if (!packet && virtqueue_wait_for_next(&nic->receive))
            break;
        if (!packet)
            continue;
        packet = frame_from(nic, packet, written);
        if (packet)
            interface_receive(&nic->interface, packet);
        else
            nic->interface.received.errors++;
        if (n == POLL_MOST - 1)
            network_wake(); // others want the lock; then go on
    }
    if (nic->posted < RECEIVE_BUFFERS * 3 / 4)
        refill(nic);
}

// --- Sending ---

static void reclaim(struct nic *nic) {
    struct packet *packet;

    while ((packet = virtqueue_take(&nic->send, NULL)) != NULL)
        packet_free(packet);
}

static bool queue_for_device(struct nic *nic, struct packet *packet) {
    struct header *header = header_of(nic, packet);

    *header = (struct header){0};
    if (packet->checksum_partial) {
        header->flags = HEADER_NEEDS_CHECKSUM;
        header->checksum_start = packet->checksum_start;
        header->checksum_offset = packet->checksum_offset;
    }
    return add(nic, &nic->send, packet, packet->length, false) == 0;
}

static int nic_transmit(struct interface *interface, struct packet *packet) {
    struct nic *nic = interface->driver;

    if (nic->send.free_count < nic->send.size / 2)
        reclaim(nic);
    if (list_empty(&nic->backlog) && queue_for_device(nic, packet))
        return 0;
    if (nic->waiting == BACKLOG_MOST || nic->send.broken) {
        packet_free(packet);
        return -ENOBUFS;
    }
    if (nic->waiting++ == 0)
        network_wake(); // the thread asks for an interrupt
    list_append(&nic->backlog, &packet->link);
    return 0;
}

static void nic_flush(struct interface *interface) {
    struct nic *nic = interface->driver;

    tell(nic, &nic->send, SEND);
}

static void send_backlog(struct nic *nic) {
    do {
        reclaim(nic);
        while (nic->waiting) {
            struct packet *packet = LIST_FIRST(&nic->backlog, struct packet, link);
            if (!queue_for_device(nic, packet))
                break;
            list_remove(&packet->link); // its link is ours until it is freed
            nic->waiting--;
        }
        tell(nic, &nic->send, SEND);
    } while (nic->waiting && !virtqueue_wait_for_next(&nic->send));
}

static void poll_send(struct nic *nic) {
    if (!nic->waiting) {
        reclaim(nic);
        return;
    }
    send_backlog(nic);
    if (!nic->waiting)
        virtqueue_rest(&nic->send);
}

// --- The cable ---

static bool link_is_up(const struct nic *nic) {
    struct virtio_device *device = nic->device;

    return !(device->accepted & FEATURE_STATUS) ||
           (device->transport->read_config(device, CONFIG_STATUS, 2) & STATUS_LINK_UP);
}

static void look_at_link(struct nic *nic) {
    struct interface *interface = &nic->interface;

    nic->configured_anew = false;
    if (link_is_up(nic) == !!(interface->flags & IFF_RUNNING))
        return;
    interface->flags ^= IFF_RUNNING;
    kprintf("%s: link %s\n", interface->name, interface->flags & IFF_RUNNING ? "up" : "down");
    if (interface->flags & IFF_RUNNING)
        network_link_up(interface);
}

// --- The device ---

static void drop_all(struct nic *nic) {
    struct packet *packet;

    while ((packet = virtqueue_reclaim(&nic->receive)) != NULL ||
           (packet = virtqueue_reclaim(&nic->send)) != NULL)
        packet_free(packet);
    for (; nic->waiting; nic->waiting--) {
        packet = LIST_FIRST(&nic->backlog, struct packet, link);
        list_remove(&packet->link);
        packet_free(packet);
    }
}

static void nic_poll(struct interface *interface) {
    struct nic *nic = interface->driver;

    if (nic->dead)
        return;
    if (nic->configured_anew)
        look_at_link(nic);
    poll_send(nic);
    poll_receive(nic);
    if (nic->receive.broken || nic->send.broken) {
        virtio_fail(nic->device);
        nic->dead = nic->receive.broken = nic->send.broken = true;
        interface->flags &= ~(unsigned)(IFF_UP | IFF_RUNNING);
        drop_all(nic);
        kprintf("%s: the device returned a packet it never had; it is switched off\n",
                interface->name);
    }
}

static void nic_interrupt(struct virtio_device *device) {
    (void)device;
    network_wake();
}

static void nic_changed(struct virtio_device *device) {
    struct nic *nic = device->driver;

    nic->configured_anew = true; // the interrupt wakes the thread
}

static void choose_address(struct nic *nic) {
    u8 *mac = nic->interface.mac;

    for (size_t i = 0; i < 6 && nic->device->accepted & FEATURE_MAC; i++)
        mac[i] = (u8)nic->device->transport->read_config(nic->device, CONFIG_MAC + i, 1);
    if (!(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]))
        return;
    random_bytes(mac, 6);
    mac[0] = (u8)((mac[0] & ~1) | 2); // one host's, not assigned by a maker
}

static u32 choose_mtu(const struct nic *nic) {
    if (!(nic->device->accepted & FEATURE_MTU))
        return MTU_DEFAULT;
    u32 mtu = (u32)nic->device->transport->read_config(nic->device, CONFIG_MTU, 2);
    return MAX(MIN(mtu, MTU_MOST), MTU_LEAST);
}

static int nic_create(struct nic *nic, struct virtio_device *device) {
    u64 wanted = VIRTIO_RING_EVENT_INDEX | VIRTIO_ANY_LAYOUT | FEATURE_CHECKSUM |
                 FEATURE_GUEST_CHECKSUM | FEATURE_MTU | FEATURE_MAC | FEATURE_MERGE |
                 FEATURE_STATUS;
    int status = virtio_negotiate(device, wanted);

    nic->device = device;
    nic->merges = device->accepted & FEATURE_MERGE;
    nic->header_size = sizeof(struct header) - (device->legacy && !nic->merges ? sizeof(u16) : 0);
    nic->apart = device->legacy && !(device->accepted & VIRTIO_ANY_LAYOUT);
    list_init(&nic->backlog);
    if (status == 0)
        status = virtio_queue_create(device, RECEIVE, QUEUE_SIZE, &nic->receive);
    if (status == 0)
        status = virtio_queue_create(device, SEND, QUEUE_SIZE, &nic->send);
    if (status < 0)
        return status;
    nic->interface = (struct interface){
        .name = "eth%u",
        .mtu = choose_mtu(nic),
        .flags = IFF_UP | IFF_BROADCAST | IFF_MULTICAST | (link_is_up(nic) ? IFF_RUNNING : 0),
        .sends_checksums = device->accepted & FEATURE_CHECKSUM,
        .driver = nic,
        .transmit = nic_transmit,
        .flush = nic_flush,
        .poll = nic_poll,
    };
    choose_address(nic);
    return 0;
}

static void start(struct nic *nic) {
    const u8 *mac = nic->interface.mac;

    network_lock();
    interface_register(&nic->interface);
    virtqueue_rest(&nic->send);
    nic->device->driver = nic;
    nic->device->interrupt = nic_interrupt;
    nic->device->changed = nic_changed;
    virtio_ready(nic->device);
    refill(nic);
    network_found(&nic->interface);
    network_unlock();
    network_wake(); // so that it asks for interrupts
    debug("%s: ethernet address: %02x:%02x:%02x:%02x:%02x:%02x\n", nic->interface.name, mac[0],
          mac[1], mac[2], mac[3], mac[4], mac[5]);
}

int virtio_network_start(struct virtio_device *device) {
    int status = network_start();
    struct nic *nic = status == 0 ? kzalloc(sizeof(*nic)) : NULL;

    if (!nic)
        return -ENOMEM;
    status = nic_create(nic, device);
    if (status < 0) {
        virtio_fail(device);
        kfree(nic);
        return status;
    }
    start(nic);
    return 0;
}
