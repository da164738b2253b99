// Losses: retransmissions and their times, recovery with and without SACK, round trips, ICMP's
// errors, a window that is closed.

#include "tcp_script.h"

#define MSS 1448U // with timestamps

static void end(struct socket *socket) {
    socket->linger = (struct linger){1, 0};
    shim_close(socket);
    shim_forget_sent();
    nothing_left();
}

static void retransmission_times(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    u64 start = shim_time, wait = 200 * MILLISECOND;
    write_bytes(s, 10);
    we_say(A, 1, 1, 10);
    u64 at = start;
    for (int i = 0; i < 15; i++, wait = MIN(2 * wait, 120 * SECOND)) {
        at += wait;
        silent_until(at);
        we_say(A, 1, 1, 10);
    }
    CHECK(shim_info(s).tcpi_retransmits, 15);
    CHECK(shim_info(s).tcpi_total_retrans, 15);
    silent_until(at + 120 * SECOND);
    we_are_silent();
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
}

static void connecting_times(void) {
    static const u64 times[] = {1, 3, 7, 15, 31, 63};

    script_begin();
    struct socket *s = shim_socket();
    u64 start = shim_time;
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        silent_until(start + times[i] * SECOND);
        we_say(S, 0, 0, 0);
    }
    silent_until(start + 127 * SECOND);
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
    script_begin();
    s = shim_socket();
    shim_option(s, TCP_SYNCNT, 1);
    start = shim_time;
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    silent_until((hear(), start + SECOND));
    CHECK(hear(), true);
    silent_until(start + 3 * SECOND);
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
}

static void user_timeout(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_option(s, TCP_USER_TIMEOUT, 1000);
    u64 start = shim_time;
    write_bytes(s, 10);
    for (int i = 0; i < 3; i++) { // 0, 200, 600 ms
        we_say(A, 1, 1, 10);
        pass((200 << i) * MILLISECOND);
    }
    CHECK(shim_time < start + 1400 * MILLISECOND + 1, true);
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
}

static void icmp(int error, u32 sequence, u32 mtu) {
    struct ipv4_header ip = {.source = shim_address(US), .destination = shim_address(PEER)};
    struct tcp_header tcp = {.source = swap16(script.our_port),
                             .destination = swap16(script.peer_port),
                             .sequence = swap32(script.our_iss + sequence)};
    tcp_error(&ip, (const u8 *)&tcp, error, mtu);
}

static void icmp_errors(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    write_bytes(s, 3000);
    we_say(A, 1, 1, MSS);
    we_say(A, 1 + MSS, 1, MSS);
    we_say(A, 1 + 2 * MSS, 1, 3000 - 2 * MSS);
    icmp(EMSGSIZE, 50000, 1000); // about nothing we sent
    icmp(EMSGSIZE, 1, 100);      // too small to be honest
    we_are_silent();
    icmp(EMSGSIZE, 1, 1000);
    u32 small = 1000 - 52;
    for (u32 i = 0; i < 3; i++)
        we_say(A, 1 + i * small, 1, small);
    we_say(A, 1 + 3 * small, 1, 3000 - 3 * small);
    icmp(EHOSTUNREACH, 1, 0); // not the end
    CHECK(state_of(s), TCP_ESTABLISHED);
    pass(3600 * SECOND);
    CHECK(shim_error(s), EHOSTUNREACH); // but better than ETIMEDOUT
    end(s);
    script_begin();
    s = shim_socket();
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    icmp(EHOSTUNREACH, 0, 0);
    CHECK(shim_error(s), EHOSTUNREACH);
    end(s);
}

// Ten segments are sent; what is said back is up to the caller.
static struct socket *ten_segments(bool plain) {
    script_begin();
    struct socket *s = open_to_peer(plain);
    u32 mss = plain ? 1460 : MSS;
    shim_option(s, TCP_NODELAY, 1);
    write_bytes(s, 20 * mss);
    for (u32 i = 0; i < 10; i++) // the initial window (RFC 6928)
        we_say(A, 1 + i * mss, 1, mss);
    we_are_silent();
    return s;
}

static void fast_retransmit(void) { // with SACK
    struct socket *s = ten_segments(false);
    script.echo = heard.timestamp;
    for (u32 i = 1; i < 4; i++) { // the first is lost, and the fifth
        option_sack(1 + MSS, 1 + (i + 1) * MSS);
        peer_says(A, 1, 1, 0);
        if (i < 3)
            we_say(A, 1 + (9 + i) * MSS, 1, MSS); // limited transmit (RFC 3042)
    }
    we_say(A, 1, 1, MSS);
    CHECK(shim_info(s).tcpi_ca_state, TCP_CA_Recovery);
    CHECK(shim_info(s).tcpi_snd_ssthresh, 6); // half of twelve
    for (u32 i = 5; i < 12; i++) {
        option_sack(1 + 5 * MSS, 1 + (i + 1) * MSS);
        peer_says(A, 1, 1, 0);
    }
    we_say(A, 1 + 4 * MSS, 1, MSS); // only the hole
    while (hear())
        CHECK(heard.sequence - script.our_iss >= 1 + 12 * MSS, true); // and what is new
    peer_says(A, 1, 1 + 4 * MSS, 0);
    CHECK(shim_info(s).tcpi_ca_state, TCP_CA_Recovery);
    while (hear())
        CHECK(heard.sequence - script.our_iss >= 1 + 12 * MSS, true);
    peer_says(A, 1, 1 + 12 * MSS, 0);
    CHECK(shim_info(s).tcpi_ca_state, TCP_CA_Open);
    CHECK(shim_info(s).tcpi_total_retrans, 2);
    end(s);
}

static void fast_retransmit_without_sack(void) { // NewReno
    u32 mss = 1460;
    struct socket *s = ten_segments(true);
    for (u32 i = 0; i < 2; i++) {
        peer_says(A, 1, 1, 0);
        we_say(A, 1 + (10 + i) * mss, 1, mss);
    }
    peer_says(A, 1, 1, 0);
    we_say(A, 1, 1, mss);
    we_are_silent();
    for (u32 i = 3; i < 9; i++)
        peer_says(A, 1, 1, 0);
    while (hear())
        CHECK(heard.sequence - script.our_iss >= 1 + 12 * mss, true);
    peer_says(A, 1, 1 + 3 * mss, 0); // partial: the next is lost, too
    we_say(A, 1 + 3 * mss, 1, mss);
    while (hear())
        CHECK(heard.sequence - script.our_iss >= 1 + 12 * mss, true);
    peer_says(A, 1, 1 + 14 * mss, 0);
    CHECK(shim_info(s).tcpi_ca_state, TCP_CA_Open);
    CHECK(shim_info(s).tcpi_total_retrans, 2);
    end(s);
}

static void loss_of_all(void) {
    struct socket *s = ten_segments(false);
    pass(200 * MILLISECOND);
    we_say(A, 1, 1, MSS); // one segment, and one only
    we_are_silent();
    script.echo = heard.timestamp;
    peer_says(A, 1, 1 + MSS, 0);
    for (u32 i = 1; i < 3; i++) // slow start
        we_say(A, 1 + i * MSS, 1, MSS);
    we_are_silent();
    option_sack(1 + 3 * MSS, 1 + 9 * MSS); // these were not lost at all
    peer_says(A, 1, 1 + 3 * MSS, 0);
    // The peer acknowledges up to where it says it has more: it has thrown that away.
    we_say(A, 1 + 3 * MSS, 1, MSS);
    end(s);
}

static void round_trips(void) {
    script_begin();
    struct socket *s = open_to_peer(true); // no timestamps: one segment is timed
    write_bytes(s, 10);
    we_say(A, 1, 1, 10);
    pass(100 * MILLISECOND);
    peer_says(A, 1, 11, 0);
    struct tcp_info info = shim_info(s);
    CHECK(info.tcpi_rtt > 10000 && info.tcpi_rtt < 20000, true); // an eighth of 100 ms, after ~0
    write_bytes(s, 10);
    we_say(A, 11, 1, 10);
    pass(info.tcpi_rto * TCP_MICROSECONDS);
    we_say(A, 11, 1, 10);
    peer_says(A, 1, 21, 0); // of which one? (Karn)
    CHECK(shim_info(s).tcpi_rtt, info.tcpi_rtt);
    end(s);
    script_begin();
    s = open_to_peer(false);
    write_bytes(s, 10);
    we_say(A, 1, 1, 10);
    pass(SECOND); // sent again twice meanwhile
    while (hear())
        ;
    script.echo = heard.timestamp; // of the last, which was at 600 ms
    peer_says(A, 1, 11, 0);
    CHECK(shim_info(s).tcpi_rtt > 40000 && shim_info(s).tcpi_rtt < 60000, true);
    end(s);
}

static void their_window(void) {
    script_begin();
    script.window = 100; // times 128: the shift was agreed on
    struct socket *s = open_to_peer(false);
    write_bytes(s, 30000);
    we_say(A, 1, 1, 100); // the SYN's window is not scaled: all there is room for
    script.echo = heard.timestamp;
    peer_says(A, 1, 101, 0);
    for (u32 i = 0; i < 8; i++)
        we_say(A, 101 + i * MSS, 1, MSS);
    we_are_silent(); // 1216 bytes are less than a segment, and less than half the window
    u32 at = 101 + 8 * MSS;
    script.window = 0;
    peer_says(A, 1, at, 0);
    u64 now = shim_time;
    u64 wait = 200 * MILLISECOND;
    for (int i = 0; i < 30; i++) { // as long as it answers, for ever
        now += wait;
        wait = MIN(2 * wait, 120 * SECOND);
        silent_until(now);
        we_say(A, at - 1, 1, 0);
        peer_says(A, 1, at, 0);
    }
    CHECK(shim_error(s), 0);
    script.window = 8; // 1024: a segment does not fit, half the largest window neither
    peer_says(A, 1, at, 0);
    silent_until(shim_time + 200 * MILLISECOND);
    we_say(A, at, 1, 1024);
    script.window = 0;
    peer_says(A, 1, at + 1024, 0);
    pass(924600 * MILLISECOND - 1); // it does not answer any more: 15 probes
    CHECK(shim_error(s), 0);
    pass(1);
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
}

int main(void) {
    retransmission_times();
    connecting_times();
    user_timeout();
    icmp_errors();
    fast_retransmit();
    fast_retransmit_without_sack();
    loss_of_all();
    round_trips();
    their_window();
    puts("ok");
}
