// Packets: one frame in one piece of memory, with room in front for the headers that lower
// layers add. A packet has one owner at a time; handing it to a function that "takes" it passes
// the duty to free it.
//
// Invariant: storage <= data, and data + length <= storage + capacity.
#pragma once

#include "base.h"
#include "list.h"

struct interface;
struct ipv4_header;

// Partial checksums: a transport protocol may leave the sum of the pseudo header (folded, not
// inverted) in its checksum field, say where in its header that is (checksum_offset), and set
// checksum_partial. The device completes it, or IPv4 does when the device cannot;
// checksum_start is kept by the layers below.

#define PACKET_HEADROOM 128UL // virtio 12, Ethernet 14, IPv4 up to 60; the rest aligns

struct packet {
    struct list link; // for its owner: a queue, a pool
    struct interface *interface;
    u8 *data; // the first byte of what has been built, or of what is still to be looked at
    u32 length, capacity;
    u32 source, destination;             // of the IPv4 header, as in the packet
    const struct ipv4_header *ip;        // received: where that header is
    bool broadcast;                      // received: was not sent to us alone
    bool checksum_good;                  // received: the sender of it vouches for what is inside
    bool checksum_partial;               // to send: see below
    u16 checksum_start, checksum_offset; // of the field, from where summing starts
    u8 storage[];
};

// With room for `size` bytes behind PACKET_HEADROOM; empty. NULL when memory is out. Packets for
// one Ethernet frame come from a pool and are not zeroed.
struct packet *packet_allocate(size_t size);
void packet_free(struct packet *packet);
size_t packets_in_use(void); // for tests and /proc: none may leak

// Room for a header in front. There always is: PACKET_HEADROOM covers all layers.
static inline void *packet_push(struct packet *packet, size_t size) {
    packet->data -= size;
    packet->length += size;
    return packet->data;
}

// Takes a header off the front, or NULL if the packet is shorter.
static inline void *packet_pull(struct packet *packet, size_t size) {
    void *header = packet->data;

    if (packet->length < size)
        return NULL;
    packet->data += size;
    packet->length -= size;
    return header;
}

// Appends `size` bytes of room at the end, or NULL if the capacity is used up.
static inline void *packet_put(struct packet *packet, size_t size) {
    u8 *end = packet->data + packet->length;

    if ((size_t)(packet->storage + packet->capacity - end) < size)
        return NULL;
    packet->length += size;
    return end;
}
