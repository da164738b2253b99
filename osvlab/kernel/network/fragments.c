// Fragments of IPv4 datagrams: taking them apart and putting them together (RFC 791 section 3.2,
// RFC 815).
//
// Invariant: a datagram's pieces are ordered and do not overlap; one that would overlap condemns
// the whole datagram (as RFC 5722 has it for IPv6), except for an exact repetition, which networks
// make by themselves. At most PIECES_MOST pieces wait, for at most WAIT; the oldest datagram
// makes room for a new one.

#include <string.h>

#include "layers.h"
#include "memory.h"
#include "network.h"

#define DATAGRAMS_MOST 16
#define PIECES_MOST 256         // of all datagrams
#define DATAGRAM_PIECES_MOST 64 // 65,535 bytes in frames of 1500 are 45
#define WAIT (30 * SECOND)

struct datagram {
    struct list link; // oldest first
    u32 source, destination;
    u16 identification;
    u8 protocol;
    u64 deadline;
    struct list pieces; // of struct packet.link, by offset
    unsigned count;
    size_t have, total; // bytes of payload; total 0: the last piece is missing
};

static struct list datagrams = LIST(datagrams);
static unsigned datagram_count, piece_count;
static struct network_timer timer;

static size_t offset_of(const struct packet *piece) {
    return (swap16(piece->ip->fragment) & FRAGMENT_OFFSET) * 8UL;
}

static bool is_last(const struct packet *piece) {
    return !(piece->ip->fragment & swap16(FRAGMENT_MORE));
}

static struct packet *first_piece(struct datagram *d) {
    return LIST_FIRST(&d->pieces, struct packet, link);
}

static void drop(struct datagram *d) {
    for (struct packet *piece; (piece = first_piece(d)) != NULL;) {
        list_remove(&piece->link);
        packet_free(piece);
    }
    piece_count -= d->count;
    datagram_count--;
    list_remove(&d->link);
    kfree(d);
}

static void expire(struct network_timer *unused) {
    struct datagram *d;
    (void)unused;

    while ((d = LIST_FIRST(&datagrams, struct datagram, link)) && d->deadline <= network_now()) {
        if (!list_empty(&d->pieces) && offset_of(first_piece(d)) == 0)
            icmp_send_error(first_piece(d), ICMP_TIME_EXCEEDED, 1);
        drop(d);
    }
    if (d)
        network_timer_set(&timer, d->deadline);
}

static struct datagram *find(const struct packet *piece) {
    LIST_EACH(&datagrams, d, struct datagram, link) {
        if (d->identification == piece->ip->identification && d->source == piece->source &&
            d->destination == piece->destination && d->protocol == piece->ip->protocol)
            return d;
    }
    return NULL;
}

static void make_room(void) {
    while (datagram_count >= DATAGRAMS_MOST || piece_count >= PIECES_MOST)
        drop(LIST_FIRST(&datagrams, struct datagram, link));
}

static struct datagram *create(const struct packet *piece) {
    struct datagram *d = kzalloc(sizeof(*d));
    if (!d)
        return NULL;
    *d = (struct datagram){
        .source = piece->source,
        .destination = piece->destination,
        .identification = piece->ip->identification,
        .protocol = piece->ip->protocol,
        .deadline = network_now() + WAIT,
    };
    list_init(&d->pieces);
    if (!timer.function)
        network_timer_init(&timer, expire);
    if (!timer.slot && network_timer_set(&timer, d->deadline) < 0) {
        kfree(d);
        return NULL;
    }
    list_append(&datagrams, &d->link);
    datagram_count++;
    return d;
}

static bool well_formed(const struct packet *piece) {
    size_t end = offset_of(piece) + piece->length;

    return piece->length && end + IPV4_HEADER <= UINT16_MAX &&
           (is_last(piece) || piece->length % 8 == 0);
}

enum verdict { TAKEN, REPEATED, CONFLICT };

// Puts a piece where it belongs.
static enum verdict place(struct datagram *d, struct packet *piece) {
    size_t start = offset_of(piece), end = start + piece->length;
    struct list *before = d->pieces.previous;

    while (before != &d->pieces && offset_of(CONTAINER_OF(before, struct packet, link)) > start)
        before = before->previous;
    struct packet *lower = before == &d->pieces ? NULL : CONTAINER_OF(before, struct packet, link);
    struct packet *upper =
        before->next == &d->pieces ? NULL : CONTAINER_OF(before->next, struct packet, link);
    if (lower && offset_of(lower) == start && lower->length == piece->length &&
        is_last(lower) == is_last(piece))
        return REPEATED;
    if ((lower && offset_of(lower) + lower->length > start) || (upper && offset_of(upper) < end) ||
        (is_last(piece) && (upper || d->total)) || (d->total && end > d->total))
        return CONFLICT;
    list_insert(before->next, &piece->link);
    d->have += piece->length;
    d->total = is_last(piece) ? end : d->total;
    d->count++;
    piece_count++;
    return TAKEN;
}

// All pieces in one packet, behind the first one's header.
static struct packet *join(struct datagram *d) {
    struct packet *first = first_piece(d);
    size_t header_size = ipv4_header_size(first->ip);
    struct packet *whole = packet_allocate(header_size + d->total);

    if (!whole)
        return NULL;
    struct ipv4_header *header = packet_put(whole, header_size);
    memcpy(header, first->ip, header_size);
    header->fragment = 0;
    header->total_length = swap16((u16)(header_size + d->total));
    LIST_EACH(&d->pieces, piece, struct packet, link)
    memcpy(packet_put(whole, piece->length), piece->data, piece->length);
    whole->ip = packet_pull(whole, header_size);
    whole->interface = first->interface;
    whole->source = first->source;
    whole->destination = first->destination;
    whole->broadcast = first->broadcast;
    return whole;
}

struct packet *fragments_add(struct packet *piece) {
    struct packet *whole = NULL;

    make_room();
    struct datagram *d = well_formed(piece) ? find(piece) : NULL;

    if (!d && well_formed(piece))
        d = create(piece);
    enum verdict verdict = d ? place(d, piece) : REPEATED;
    if (verdict != TAKEN)
        packet_free(piece);
    if (!d)
        return NULL;
    if (verdict == TAKEN && d->have == d->total)
        whole = join(d);
    if (verdict == CONFLICT || d->have == d->total || d->count > DATAGRAM_PIECES_MOST)
        drop(d);
    return whole;
}

// One piece of a datagram that is too large, with a copy of its header.
static int send_piece(const struct packet *whole, size_t offset, size_t size,
                      ipv4_address next_hop) {
    const struct ipv4_header *model = (const void *)whole->data;
    struct packet *piece = packet_allocate(IPV4_HEADER + size);
    bool more = IPV4_HEADER + offset + size < whole->length;

    if (!piece)
        return -ENOBUFS;
    struct ipv4_header *header = packet_put(piece, IPV4_HEADER);
    *header = *model;
    header->total_length = swap16((u16)(IPV4_HEADER + size));
    header->fragment = swap16((u16)(offset / 8) | (more ? FRAGMENT_MORE : 0));
    ipv4_header_seal(header);
    memcpy(packet_put(piece, size), whole->data + IPV4_HEADER + offset, size);
    piece->interface = whole->interface;
    return ipv4_output(piece, next_hop);
}

int fragments_send(struct packet *packet, ipv4_address next_hop) {
    size_t payload = packet->length - IPV4_HEADER;
    size_t most = ALIGN_DOWN(packet->interface->mtu - IPV4_HEADER, 8);
    int status = 0;

    for (size_t offset = 0; status == 0 && offset < payload; offset += most)
        status = send_piece(packet, offset, MIN(most, payload - offset), next_hop);
    packet_free(packet);
    return status;
}
