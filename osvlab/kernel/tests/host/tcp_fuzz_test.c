// Hostile segments against live connections: random ones, and true ones with something changed,
// all with a right checksum and numbers near the ones that count. Nothing breaks, every invariant
// holds, and when the connections are gone nothing is left. Arguments: seed, segments.

#include "tcp_script.h"

#define PLACES 8

static struct {
    struct socket *socket;
    struct script script;
} places[PLACES];
static struct socket *listener;

static u32 near(u32 base) {
    static const u32 steps[] = {0, 1, 2, 1447, 1448, 65535, 65536, 258048, 1U << 30, 1U << 31};
    u32 step = steps[shim_pick(ARRAY_SIZE(steps))] + shim_pick(3) - 1;
    return shim_pick(2) ? base + step : base - step;
}

static void junk_options(void) {
    u32 size = 4 * shim_pick(11);
    u8 bytes[40];

    for (u32 i = 0; i < size; i++)
        bytes[i] = (u8)(shim_pick(2) ? shim_pick(12) : shim_pick(256));
    option(bytes, size);
}

static void true_options(const struct tcp_connection *c) {
    if (shim_pick(3) == 0) {
        u32 start = near(c->snd.una) - script.our_iss;
        option_sack(start, start + shim_pick(5000));
    }
    script.timestamps = c->timestamps && shim_pick(20);
    script.stamp = c->stamp.recent + shim_pick(3);
    script.echo = tcp_clock(c) - shim_pick(1000);
    if (!shim_pick(30))
        script.stamp = (u32)shim_random;
}

static void attack(const struct tcp_connection *c) {
    u8 flags = (u8)(shim_pick(4) ? A | (shim_pick(10) ? 0 : F) : shim_pick(64));
    u32 length = shim_pick(3) ? shim_pick(1400) : 0;

    script.our_iss = script.peer_iss = 0;
    script.timestamps = false;
    script.option_size = 0;
    if (shim_pick(4))
        true_options(c);
    else
        junk_options();
    if (script.option_size + (script.timestamps ? 12 : 0) > 40)
        script.option_size = 0;
    script.window = (u16)(shim_pick(3) ? shim_random >> 40 : shim_pick(3));
    u32 sequence = shim_pick(3) ? c->rcv.nxt : near(c->rcv.nxt);
    u32 ack = shim_pick(2) ? c->snd.una + shim_pick(c->snd.nxt - c->snd.una + 1) : near(c->snd.una);
    peer_says(flags, sequence, ack, length);
}

// Nothing of it is right, not even the sizes.
static void garbage(void) {
    u8 segment[200], frame[300];
    size_t size = shim_pick(sizeof(segment));

    for (size_t i = 0; i < size; i++)
        segment[i] = (u8)shim_pick(256);
    if (size >= 20) {
        segment[2] = 0, segment[3] = 80;
        segment[12] = (u8)(shim_pick(16) << 4);
        segment[16] = segment[17] = 0;
        u64 sum = checksum_pseudo_header(shim_address(PEER), shim_address(US), IP_TCP, size);
        u16 check = checksum_finish(checksum_add(sum, segment, size));
        memcpy(segment + 16, &check, 2);
    }
    shim_arrive(frame, shim_ipv4(frame, PEER, US, IP_TCP, 0, segment, size));
}

static void open_one(int i) {
    u16 peer_port = (u16)(1000 + shim_pick(60000));
    bool plain = shim_pick(4) == 0;

    script = (struct script){
        .our_port = 80, .peer_port = peer_port, .window = 65535, .peer_iss = (u32)shim_random};
    if (tcp_find(shim_address(US), swap16(80), shim_address(PEER), swap16(peer_port)))
        return;
    peer_is_known();
    places[i].socket = shim_pick(2) ? open_from_peer(listener, plain) : open_to_peer(plain);
    places[i].script = script;
}

static void use(struct socket *socket) {
    static u8 bytes[50000];

    switch (shim_pick(40)) {
    case 0:
        tcp_protocol.shutdown(socket, (int)shim_pick(3));
        break;
    case 1:
        shim_option(socket, TCP_NODELAY, (int)shim_pick(2));
        break;
    case 2:
        shim_option(socket, TCP_CORK, (int)shim_pick(2));
        break;
    }
    if (shim_pick(3) == 0)
        shim_send(socket, bytes, 1 + shim_pick(sizeof(bytes)), 0);
    if (shim_pick(3) == 0)
        shim_receive(socket, bytes, 1 + shim_pick(sizeof(bytes)), 0);
    shim_poll(socket);
    shim_info(socket);
}

static void accept_strangers(void) {
    struct socket *stranger;

    while ((stranger = shim_accept(listener)))
        shim_close(stranger);
}

static void turn(void) {
    int i = (int)shim_pick(PLACES);
    struct socket *socket = places[i].socket;

    accept_strangers();
    if (!socket) {
        open_one(i);
        return;
    }
    script = places[i].script;
    shim_memory_fails = shim_pick(10) ? 0 : 100;
    if (shim_pick(10) == 0)
        garbage();
    else
        attack(shim_connection(socket));
    use(socket);
    if (shim_pick(20) == 0)
        pass(shim_pick(1000) * MILLISECOND);
    shim_memory_fails = 0;
    if (shim_pick(300) == 0 || state_of(socket) == TCP_CLOSE) {
        shim_close(socket);
        places[i].socket = NULL;
    }
    shim_forget_sent();
    shim_check_all();
}

int main(int count, char **arguments) {
    u64 seed = count > 1 ? strtoul(arguments[1], NULL, 0) : 1;
    unsigned long turns = count > 2 ? strtoul(arguments[2], NULL, 0) : 50000;

    shim_random = seed * 77777 + 5;
    script_begin();
    arp_forget(&shim_card);
    size_t before = shim_objects;
    listener = shim_listener(US, 80, 5);
    for (unsigned long i = 0; i < turns; i++)
        turn();
    for (int i = 0; i < PLACES; i++)
        if (places[i].socket)
            shim_close(places[i].socket);
    accept_strangers();
    pass(7200 * SECOND);
    shim_close(listener);
    nothing_left();
    arp_forget(&shim_card);
    CHECK(shim_objects, before);
    puts("ok");
}
