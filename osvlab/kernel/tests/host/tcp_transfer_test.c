// Megabytes both ways at once over a line that loses, doubles, damages and reorders, by a seed:
// every byte arrives, once, in order, and nothing is left behind.
// Arguments: first seed, number of seeds, bytes each way, allocations that fail in a thousand.

#include "tcp_shim.h"

static u8 byte_at(u64 seed, u64 position) {
    u64 x = (position + seed * 7919) * 0x9e3779b97f4a7c15;
    return (u8)(x >> 56);
}

struct side {
    struct socket *socket;
    u64 key, peer_key;
    size_t written, read, total;
    bool shut, ended;
};

static void write_some(struct side *s) {
    u8 buffer[20000];

    while (s->written < s->total) {
        size_t size = 1 + shim_pick(sizeof(buffer));
        size = MIN(size, s->total - s->written);
        for (size_t i = 0; i < size; i++)
            buffer[i] = byte_at(s->key, s->written + i);
        long done = shim_send(s->socket, buffer, size, shim_pick(8) ? 0 : MSG_MORE);
        if (done == -EAGAIN || done == -ENOBUFS)
            return;
        CHECK(done > 0, true);
        s->written += (size_t)done;
    }
    if (!s->shut)
        CHECK(tcp_protocol.shutdown(s->socket, SHUT_WR), 0);
    s->shut = true;
}

static void read_some(struct side *s, bool all) {
    u8 buffer[30000];

    while (!s->ended) {
        long done = shim_receive(s->socket, buffer, 1UL + shim_pick(sizeof(buffer)), 0);
        if (done == -EAGAIN)
            return;
        CHECK(done >= 0, true);
        s->ended = done == 0;
        for (long i = 0; i < done; i++, s->read++)
            if (buffer[i] != byte_at(s->peer_key, s->read)) {
                fprintf(stderr, "byte %zu is wrong\n", s->read);
                exit(1);
            }
        if (!all && shim_pick(3))
            return;
    }
}

static unsigned failing;

static bool done(const struct side *s) {
    return s->shut && s->ended;
}

static void fail(const char *why, const struct side *s) {
    const struct tcp_connection *c = s->socket->connection;

    fprintf(stderr, "%s: error %d, state %d, written %zu, read %zu of %zu; una %u nxt %u end %u\n",
            why, s->socket->error, c->state, s->written, s->read, s->total, c->snd.una, c->snd.nxt,
            c->snd.end);
    exit(1);
}

static void pump(struct side *s) {
    if (s->socket->error)
        fail("connection failed", s);
    if (shim_poll(s->socket) & POLLIN && shim_pick(4)) // now and then a reader is slow
        read_some(s, shim_pick(2));
    if (shim_poll(s->socket) & POLLOUT)
        write_some(s);
}

static void weather(u64 seed) {
    shim_line = (struct shim_link){
        .delay = (1 + shim_pick(40)) * MILLISECOND,
        .jitter = shim_pick(3) ? shim_pick(30) * MILLISECOND : 0,
        .rate = shim_pick(2) ? 1000000 : 0,
        .queue = shim_pick(2) ? 60000 : 0,
        .lost = seed % 10 ? shim_pick(200) : 0,
        .doubled = shim_pick(50),
        .damaged = shim_pick(20),
    };
}

static void transfer(u64 seed, size_t total) {
    shim_random = seed * 2654435761 + 1;
    shim_pick(2);
    weather(seed);
    tcp_hash_key(seed * 0x123456789, seed % 3); // so that sequence numbers wrap, too
    struct socket *listener = shim_listener("127.0.0.1", 7, 5);
    struct side a = {.key = seed, .peer_key = ~seed, .total = total};
    struct side b = {.key = ~seed, .peer_key = seed, .total = shim_pick(2) ? total : total / 9};
    a.socket = shim_socket();
    CHECK(shim_connect(a.socket, "127.0.0.1", 7), -EINPROGRESS);
    shim_memory_fails = shim_packets_fail = failing;
    unsigned quiet = 0;
    bool without = !shim_pick(4); // SACK: then it is NewReno

    while (!b.socket || !done(&a) || !done(&b)) {
        if (!shim_next_event() && ++quiet > 100) // an application may still be slow
            fail("nothing more will happen", &a);
        if (!b.socket)
            b.socket = shim_accept(listener);
        if (without)
            shim_connection(a.socket)->sack = false;
        if (without && b.socket)
            shim_connection(b.socket)->sack = false;
        pump(&a);
        if (b.socket)
            pump(&b);
        if (!shim_pick(50))
            shim_check_all();
    }
    shim_memory_fails = shim_packets_fail = 0;
    CHECK(a.read, b.total);
    CHECK(b.read, a.total);
    shim_close(a.socket);
    shim_close(b.socket);
    shim_close(listener);
    while (shim_next_event())
        ;
    CHECK(tcp_connection_count, 0);
    CHECK(tcp_orphan_count + tcp_time_wait_count, 0);
    CHECK(tcp_rings_pages(), 0);
    CHECK(shim_pages, 0);
    CHECK(packets_in_use(), 0);
}

int main(int count, char **arguments) {
    u64 first = count > 1 ? strtoul(arguments[1], NULL, 0) : 1;
    u64 seeds = count > 2 ? strtoul(arguments[2], NULL, 0) : 20;
    size_t total = count > 3 ? strtoul(arguments[3], NULL, 0) : 300000;

    failing = count > 4 ? (unsigned)strtoul(arguments[4], NULL, 0) : 0;
    shim_start();
    shim_link_start(1500);
    size_t before = shim_objects;
    for (u64 seed = first; seed < first + seeds; seed++) {
        u64 began = shim_time;
        transfer(seed, total);
        CHECK(shim_objects, before);
        if (count > 5)
            printf("seed %lu: %.1f s, lost %u, carried %lu\n", seed,
                   (double)(shim_time - began) / SECOND, shim_line.lost, shim_line.carried);
    }
    puts("ok");
}
