// A clean line with a known rate and delay: the windows grow until it is full, in each direction
// and in both at once; two connections share it; and a short queue is lived with.

#include "tcp_shim.h"

static u8 buffer[1 << 16];

struct flow {
    struct socket *from, *to;
    u64 sent, arrived;
};

static void pump(struct flow *f) {
    long done;

    while ((done = shim_send(f->from, buffer, sizeof(buffer), 0)) > 0)
        f->sent += (u64)done;
    CHECK(done, -EAGAIN);
    while ((done = shim_receive(f->to, buffer, sizeof(buffer), 0)) > 0)
        f->arrived += (u64)done;
    CHECK(done, -EAGAIN);
}

static void connect_pair(struct socket *listener, struct socket **a, struct socket **b) {
    *a = shim_socket();
    CHECK(shim_connect(*a, "127.0.0.1", 7), -EINPROGRESS);
    while (!(*b = shim_accept(listener)))
        CHECK(shim_next_event(), true);
}

static void run(struct flow *flows, size_t count, u64 seconds) {
    u64 end = shim_time + seconds * SECOND;

    for (size_t i = 0; i < count; i++)
        flows[i].arrived = 0;
    while (shim_time < end) {
        for (size_t i = 0; i < count; i++)
            pump(&flows[i]);
        CHECK(shim_next_event(), true);
    }
}

static void finish(struct socket *socket) {
    socket->linger = (struct linger){1, 0};
    shim_close(socket);
}

// Bytes per second of the line, of which at least so many in a hundred are to be data.
static void full(u64 rate, u64 delay, size_t queue, unsigned percent) {
    struct socket *listener = shim_listener("127.0.0.1", 7, 5), *a, *b;
    shim_line = (struct shim_link){.rate = rate, .delay = delay, .queue = queue};
    connect_pair(listener, &a, &b);
    struct flow flow = {.from = a, .to = b};
    run(&flow, 1, 3); // to grow
    run(&flow, 1, 10);
    struct tcp_info info = shim_info(a);
    printf("%lu bytes/s, %lu ms, queue %zu: %lu %%, %u retransmissions, window %u\n", rate,
           2 * delay / MILLISECOND, queue, flow.arrived * 10 / rate, info.tcpi_total_retrans,
           info.tcpi_snd_cwnd);
    CHECK(flow.arrived * 10 / rate >= percent, true);
    if (!queue)
        CHECK(info.tcpi_total_retrans, 0);
    finish(a);
    finish(b);
    shim_close(listener);
    shim_link_empty();
}

// The queue forgets bytes, not packets: acknowledgements of the other direction share it.
static void both_ways(void) {
    struct socket *listener = shim_listener("127.0.0.1", 7, 5), *a, *b;
    shim_line = (struct shim_link){.rate = 4000000, .delay = 5 * MILLISECOND};
    connect_pair(listener, &a, &b);
    struct flow flows[] = {{.from = a, .to = b}, {.from = b, .to = a}};
    run(flows, 2, 3);
    run(flows, 2, 10);
    u64 one = flows[0].arrived / 100000, other = flows[1].arrived / 100000;
    printf("both ways: %lu and %lu of 400\n", one, other);
    CHECK(one + other >= 360, true);
    CHECK(MIN(one, other) >= 120, true);
    finish(a);
    finish(b);
    shim_close(listener);
    shim_link_empty();
}

static void sharing(void) {
    struct socket *listener = shim_listener("127.0.0.1", 7, 5);
    struct flow flows[4] = {0};
    shim_line = (struct shim_link){.rate = 4000000, .delay = 10 * MILLISECOND, .queue = 60000};
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
        connect_pair(listener, &flows[i].from, &flows[i].to);
    run(flows, ARRAY_SIZE(flows), 5);
    run(flows, ARRAY_SIZE(flows), 30);
    u64 all = 0, least = NEVER;
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
        all += flows[i].arrived;
        least = MIN(least, flows[i].arrived);
        finish(flows[i].from);
        finish(flows[i].to);
    }
    printf("four at once: %lu %%, the least %lu %%\n", all / 1200000, least / 1200000);
    CHECK(all / 1200000 >= 80, true);
    CHECK(least / 1200000 >= 10, true);
    shim_close(listener);
    shim_link_empty();
}

// Small requests, each answered at once: one segment each way, nothing waits for a timer.
static void requests(void) {
    struct socket *listener = shim_listener("127.0.0.1", 7, 5), *a, *b;
    shim_line = (struct shim_link){.delay = MILLISECOND};
    connect_pair(listener, &a, &b);
    u64 start = shim_time, packets = shim_line.carried;
    for (int i = 0; i < 100; i++) {
        CHECK(shim_send(a, buffer, 100, 0), 100);
        while (shim_receive(b, buffer, 1000, 0) != 100)
            CHECK(shim_next_event(), true);
        CHECK(shim_send(b, buffer, 500, 0), 500);
        while (shim_receive(a, buffer, 1000, 0) != 500)
            CHECK(shim_next_event(), true);
    }
    CHECK(shim_time - start, 200 * MILLISECOND);
    CHECK(shim_line.carried - packets <= 202, true);
    finish(a);
    finish(b);
    shim_close(listener);
    shim_link_empty();
}

int main(void) {
    shim_start();
    shim_link_start(1500);
    full(1000000, 5 * MILLISECOND, 0, 93);
    full(10000000, 5 * MILLISECOND, 0, 93);
    full(10000000, 10 * MILLISECOND, 0, 93); // 200 KB on their way: nearly all of a ring
    full(1000000, 20 * MILLISECOND, 40000, 85);
    full(1000000, 20 * MILLISECOND, 15000, 60);
    both_ways();
    sharing();
    requests();
    shim_link_start(65535);
    full(10000000, MILLISECOND, 0, 93);
    puts("ok");
}
