// Who is who in TCP: connections by their four numbers, listeners and bound sockets by port.
//
// Invariant: no two connections in the table have the same addresses and ports. What a stranger
// must not guess (where a connection's sequence numbers begin, RFC 6528; the next port, RFC 6056)
// or choose (the bucket he falls into) comes out of SipHash-2-4 (Aumasson, Bernstein 2012) under a
// key that is drawn once.

#include "tcp.h"

#define BUCKETS 1024U
#define PORT_FIRST 32768U // ephemeral ports, as on Linux
#define PORT_COUNT 28232U

enum { FOR_TABLE, FOR_SEQUENCE, FOR_PORT };

struct list tcp_bound = LIST(tcp_bound);
static struct tcp_connection *buckets[BUCKETS];
static struct tcp_connection *latest; // found last: segments come in trains
static u64 key[2];
static bool key_drawn;

// --- SipHash of two words ---

static u64 rotate(u64 x, int n) {
    return x << n | x >> (64 - n);
}

static void sip_round(u64 v[4]) {
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static void sip_word(u64 v[4], u64 word) {
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

void tcp_hash_key(u64 a, u64 b) {
    key[0] = a;
    key[1] = b;
    key_drawn = true;
}

u64 tcp_hash(u64 a, u64 b) {
    if (!key_drawn) {
        random_bytes(key, sizeof(key));
        key_drawn = true;
    }
    u64 v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    sip_word(v, a);
    sip_word(v, b);
    sip_word(v, 16UL << 56); // the length
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static u64 hash_of(ipv4_address local, u16 local_port, ipv4_address remote, u16 remote_port,
                   unsigned purpose) {
    return tcp_hash((u64)local << 32 | remote,
                    (u64)purpose << 32 | (u32)local_port << 16 | remote_port);
}

// The clock of 4 microseconds plus what nobody else can compute: a later connection between the
// same two begins later (RFC 6528), if need be above the numbers of an earlier one. The same holds
// for the origin of timestamps.
void tcp_choose_sequence(struct tcp_connection *c, const u32 *above) {
    u64 hash = hash_of(c->local, c->local_port, c->remote, c->remote_port, FOR_SEQUENCE);

    c->snd.iss = (u32)hash + (u32)(network_now() / (4 * MICROSECOND));
    if (above)
        c->snd.iss = tcp_later(c->snd.iss, *above + (1U << 16));
    c->snd.una = c->snd.nxt = c->snd.iss;
    c->snd.end = c->snd.iss + 1;
    c->snd.recover = c->snd.lost = c->snd.again = c->snd.small = c->snd.iss;
    c->stamp.offset = (u32)(hash >> 32);
}

// --- The table ---

static struct tcp_connection **bucket_of(ipv4_address local, u16 local_port, ipv4_address remote,
                                         u16 remote_port) {
    return &buckets[hash_of(local, local_port, remote, remote_port, FOR_TABLE) % BUCKETS];
}

static bool is(const struct tcp_connection *c, ipv4_address local, u16 local_port,
               ipv4_address remote, u16 remote_port) {
    return c->remote_port == remote_port && c->local_port == local_port && c->remote == remote &&
           c->local == local;
}

struct tcp_connection *tcp_find(ipv4_address local, u16 local_port, ipv4_address remote,
                                u16 remote_port) {
    if (latest && is(latest, local, local_port, remote, remote_port))
        return latest;
    struct tcp_connection *c = *bucket_of(local, local_port, remote, remote_port);
    while (c && !is(c, local, local_port, remote, remote_port))
        c = c->chain;
    if (c)
        latest = c;
    return c;
}

void tcp_table_add(struct tcp_connection *c) {
    struct tcp_connection **bucket = bucket_of(c->local, c->local_port, c->remote, c->remote_port);

    c->chain = *bucket;
    *bucket = c;
    c->hashed = true;
    if (c->bound) // the table holds the port from now on
        list_remove(&c->link);
    c->bound = false;
}

void tcp_table_remove(struct tcp_connection *c) {
    struct tcp_connection **at = bucket_of(c->local, c->local_port, c->remote, c->remote_port);

    if (!c->hashed)
        return;
    while (*at != c)
        at = &(*at)->chain;
    *at = c->chain;
    c->hashed = false;
    latest = NULL;
}

void tcp_each(bool (*visit)(struct tcp_connection *, void *), void *argument) {
    LIST_EACH_SAFE(&tcp_bound, c, struct tcp_connection, link) {
        if (visit(c, argument))
            return;
    }
    for (u32 i = 0; i < BUCKETS; i++)
        for (struct tcp_connection *c = buckets[i], *next; c; c = next) {
            next = c->chain;
            if (visit(c, argument))
                return;
        }
}

// One that listens at this very address goes before one that listens at all of them.
struct tcp_connection *tcp_find_listener(ipv4_address local, u16 port) {
    struct tcp_connection *found = NULL;

    LIST_EACH(&tcp_bound, c, struct tcp_connection, link) {
        if (c->state != TCP_LISTEN || c->local_port != port)
            continue;
        if (c->local == local)
            return c;
        if (c->local == 0)
            found = c;
    }
    return found;
}

// --- Ports, with Linux's rules for SO_REUSEADDR and SO_REUSEPORT ---

struct port_question {
    const struct tcp_connection *asks;
    ipv4_address address;
    u16 port;
    bool taken;
};

static bool reuses_address(const struct tcp_connection *c) {
    return c->socket ? c->socket->reuse_address : c->reuse_address;
}

static bool reuses_port(const struct tcp_connection *c) {
    return c->socket ? c->socket->reuse_port : c->reuse_port;
}

static bool stands_in_the_way(struct tcp_connection *c, void *argument) {
    struct port_question *q = argument;

    if (c == q->asks || c->local_port != q->port)
        return false;
    if (c->local != q->address && c->local != 0 && q->address != 0)
        return false;
    bool both_address = reuses_address(c) && reuses_address(q->asks);
    bool both_port = reuses_port(c) && reuses_port(q->asks);
    if ((both_address && c->state != TCP_LISTEN) || both_port)
        return false;
    q->taken = true;
    return true;
}

static bool port_is_free(const struct tcp_connection *c, ipv4_address address, u16 port) {
    struct port_question question = {c, address, port, false};

    tcp_each(stands_in_the_way, &question);
    return !question.taken;
}

// Sockets that share a port while nobody listens on it do not share it for listening.
bool tcp_somebody_listens(const struct tcp_connection *c) {
    struct port_question question = {c, c->local, c->local_port, false};

    tcp_each(stands_in_the_way, &question);
    return question.taken;
}

static u16 port_from(u32 start, u32 i) {
    return swap16((u16)(PORT_FIRST + (start + i) % PORT_COUNT));
}

static u32 random_start(void) {
    static u64 count;
    return (u32)tcp_hash(count++, (u64)FOR_PORT << 32) % PORT_COUNT;
}

// Binds to an address and a port; port 0: any that is free.
int tcp_port_take(struct tcp_connection *c, ipv4_address address, u16 port) {
    u32 start = random_start();

    for (u32 i = 0; port == 0 && i < PORT_COUNT; i++)
        if (port_is_free(c, address, port_from(start, i)))
            port = port_from(start, i);
    if (port == 0 || !port_is_free(c, address, port))
        return -EADDRINUSE;
    c->local = address;
    c->local_port = port;
    c->bound = true;
    list_append(&tcp_bound, &c->link);
    return 0;
}

static bool somebody_is_bound(u16 port) {
    LIST_EACH(&tcp_bound, c, struct tcp_connection, link) {
        if (c->local_port == port)
            return true;
    }
    return false;
}

// A port to connect from: it need only be new towards this peer.
int tcp_port_choose(struct tcp_connection *c) {
    u32 start = random_start();

    for (u32 i = 0; i < PORT_COUNT; i++) {
        u16 port = port_from(start, i);
        if (!somebody_is_bound(port) && !tcp_find(c->local, port, c->remote, c->remote_port)) {
            c->local_port = port;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

// An interface has lost this address: connections from it cannot go on.
static bool end_if_from(struct tcp_connection *c, void *argument) {
    if (c->hashed && c->local == *(ipv4_address *)argument) {
        tcp_done(c, ECONNABORTED);
        tcp_settle(c);
    }
    return false;
}

void tcp_address_gone(ipv4_address address) {
    tcp_each(end_if_from, &address);
}
