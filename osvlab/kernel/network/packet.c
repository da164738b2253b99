// Where packets come from: a pool of halves of pages, which one Ethernet frame fits into.
//
// Invariant: a page of the pool holds two packets, and a free one is on the list of free packets.
// A page whose packets are both free goes back to the page allocator when more than POOL_KEEPS are
// free: so at rest the pool holds 128 KiB, and nobody has to ask for them when memory is out. No packet crosses a page, or its pages follow each other in memory: a
// device takes it as one piece. All packets together take at most a share of the memory, so that
// a flood ends in dropped packets and not in a machine without memory.

#include "packet.h"

#include "memory.h"

#define POOL_PACKET (PAGE_SIZE / 2)
#define POOL_CAPACITY (POOL_PACKET - sizeof(struct packet))
#define POOL_KEEPS 64 // free packets
#define MEMORY_SHARE 4

static struct list free_packets = LIST(free_packets);
static size_t free_count, in_use;
static size_t bytes_used, bytes_most; // of packets in use; the latter 0 until it is known

static bool may_take(size_t bytes) {
    if (!bytes_most) {
        struct memory_statistics memory;
        memory_statistics(&memory);
        bytes_most = memory.total / MEMORY_SHARE;
    }
    return bytes_used + bytes <= bytes_most;
}

static struct packet *twin_of(struct packet *packet) {
    return (struct packet *)((u64)packet ^ POOL_PACKET);
}

// A free packet has no capacity: that is how its twin knows.
static void put_on_list(struct packet *packet) {
    packet->capacity = 0;
    list_prepend(&free_packets, &packet->link);
    free_count++;
}

static void take_off_list(struct packet *packet) {
    list_remove(&packet->link);
    free_count--;
}

static void release_page(struct packet *packet) {
    take_off_list(packet);
    take_off_list(twin_of(packet));
    pages_free((void *)ALIGN_DOWN((u64)packet, PAGE_SIZE), 1);
}

static struct packet *take_from_pool(void) {
    if (list_empty(&free_packets)) {
        struct packet *page = pages_allocate(1);
        if (!page)
            return NULL;
        put_on_list(twin_of(page));
        put_on_list(page);
    }
    struct packet *packet = LIST_FIRST(&free_packets, struct packet, link);
    take_off_list(packet);
    return packet;
}

static size_t large_pages(size_t capacity) {
    return ALIGN_UP(sizeof(struct packet) + capacity, PAGE_SIZE) / PAGE_SIZE;
}

static size_t memory_of(size_t capacity) {
    return capacity <= POOL_CAPACITY ? POOL_PACKET : large_pages(capacity) * PAGE_SIZE;
}

// Field by field: the compiler would clear the whole by a string instruction, which is slow under
// emulation.
static void reset(struct packet *packet, u32 capacity) {
    packet->interface = NULL;
    packet->data = packet->storage + PACKET_HEADROOM;
    packet->length = 0;
    packet->capacity = capacity;
    packet->source = packet->destination = 0;
    packet->ip = NULL;
    packet->broadcast = packet->checksum_good = packet->checksum_partial = false;
    packet->checksum_start = packet->checksum_offset = 0;
}

struct packet *packet_allocate(size_t size) {
    size_t capacity = MAX(size + PACKET_HEADROOM, POOL_CAPACITY);

    if (!may_take(memory_of(capacity)))
        return NULL;
    struct packet *packet =
        capacity == POOL_CAPACITY ? take_from_pool() : pages_allocate(large_pages(capacity));
    if (!packet)
        return NULL;
    list_init(&packet->link);
    reset(packet, (u32)capacity);
    bytes_used += memory_of(capacity);
    in_use++;
    return packet;
}

void packet_free(struct packet *packet) {
    size_t capacity = packet->capacity;

    in_use--;
    bytes_used -= memory_of(capacity);
    if (capacity > POOL_CAPACITY) {
        pages_free(packet, large_pages(capacity));
        return;
    }
    put_on_list(packet);
    if (free_count > POOL_KEEPS && !twin_of(packet)->capacity)
        release_page(packet);
}

size_t packets_in_use(void) {
    return in_use;
}
