// Which socket has which UDP port (RFC 768: a port names a process).
//
// Invariant: a socket with a port is in exactly one bucket. Two sockets have the same port only if
// their addresses exclude each other, or both asked to share it. Ports that are not asked for by
// number are chosen at random (RFC 6056), so that nobody outside can guess them.

#include "udp.h"

#include "files/vnode.h"

#define BUCKETS 64
#define EPHEMERAL_FIRST 32768U // Linux's net.ipv4.ip_local_port_range
#define EPHEMERAL_COUNT (60999U - EPHEMERAL_FIRST + 1)

static struct list buckets[BUCKETS];

static struct list *bucket_of(u16 port) {
    struct list *bucket = &buckets[swap16(port) % BUCKETS];
    if (bucket->next == NULL)
        list_init(bucket);
    return bucket;
}

static bool share(const struct socket *a, const struct socket *b) {
    return (a->reuse_address && b->reuse_address) || (a->reuse_port && b->reuse_port);
}

static bool is_taken(const struct udp *udp, ipv4_address address, u16 port) {
    LIST_EACH(bucket_of(port), other, struct udp, link) {
        bool overlap = address == 0 || other->address == 0 || address == other->address;
        if (other->port == port && overlap && !share(udp->socket, other->socket))
            return true;
    }
    return false;
}

// From a random place on, the next that is free.
static u16 choose_port(const struct udp *udp, ipv4_address address) {
    u32 start;
    random_bytes(&start, sizeof(start));
    for (u32 i = 0; i < EPHEMERAL_COUNT; i++) {
        u16 port = swap16((u16)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT));
        if (!is_taken(udp, address, port))
            return port;
    }
    return 0;
}

int udp_take_port(struct udp *udp, ipv4_address address, u16 port) {
    if (port == 0)
        port = choose_port(udp, address);
    if (port == 0 || is_taken(udp, address, port))
        return -EADDRINUSE;
    udp->port = port;
    list_prepend(bucket_of(port), &udp->link); // the newest is asked first
    return 0;
}

void udp_give_port(struct udp *udp) {
    list_remove(&udp->link);
    udp->port = 0;
}

// --- Finding; -1: not for this socket, otherwise how exactly it fits ---

static int fits(const struct udp *udp, ipv4_address to, u16 port, ipv4_address from,
                u16 from_port) {
    if (udp->port != port || (udp->address != 0 && udp->address != to))
        return -1;
    if (udp->peer_port != 0 && (udp->peer != from || udp->peer_port != from_port))
        return -1;
    return (udp->address != 0) + 2 * (udp->peer_port != 0);
}

// Among sockets that share a port by SO_REUSEPORT, a sender always meets the same one.
struct udp *udp_find(ipv4_address to, u16 port, ipv4_address from, u16 from_port) {
    struct udp *found = NULL;
    int best = -1;
    u32 sharers = 0, hash = (from ^ (u32)from_port << 16 ^ to) * 2654435761U;
    LIST_EACH(bucket_of(port), udp, struct udp, link) {
        int fit = fits(udp, to, port, from, from_port);
        if (fit > best) {
            best = fit;
            found = udp;
            sharers = 1;
        } else if (fit == best && fit >= 0 && udp->socket->reuse_port &&
                   (hash >> 8) % ++sharers == 0) {
            found = udp;
        }
    }
    return found;
}

struct udp *udp_next(struct udp *udp, ipv4_address to, u16 port, ipv4_address from, u16 from_port) {
    struct list *head = bucket_of(port), *at = udp == NULL ? head->next : udp->link.next;
    for (; at != head; at = at->next) {
        udp = CONTAINER_OF(at, struct udp, link);
        if (fits(udp, to, port, from, from_port) >= 0)
            return udp;
    }
    return NULL;
}

void udp_each(void (*visit)(struct udp *, void *), void *argument) {
    for (u16 i = 0; i < BUCKETS; i++) {
        LIST_EACH(bucket_of(swap16(i)), udp, struct udp, link)
        visit(udp, argument);
    }
}
