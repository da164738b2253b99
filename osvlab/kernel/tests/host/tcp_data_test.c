// Data: acknowledgements, early segments, our window, small segments, options, keep-alive.

#include <netinet/in.h>
#include <sys/ioctl.h>

#include "tcp_script.h"

#define MSS 1448U // with timestamps

static void end(struct socket *socket) {
    socket->linger = (struct linger){1, 0};
    shim_close(socket);
    shim_forget_sent();
    nothing_left();
}

static void delayed_acknowledgements(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_option(s, TCP_QUICKACK, 0);
    u64 start = shim_time;
    peer_says(A, 1, 1, MSS);
    silent_until(start + 40 * MILLISECOND);
    we_say(A, 1, 1 + MSS, 0);
    peer_says(A, 1 + MSS, 1, MSS);
    we_are_silent();
    peer_says(A, 1 + 2 * MSS, 1, MSS); // every second one at once
    we_say(A, 1, 1 + 3 * MSS, 0);
    peer_says(A | P, 1 + 3 * MSS, 1, 10);
    write_bytes(s, 10); // an answer carries it
    we_say(A, 1, 11 + 3 * MSS, 10);
    pass(100 * MILLISECOND);
    we_are_silent();
    peer_says(A, 11 + 3 * MSS, 11, 0);
    peer_says(A, 11 + 2 * MSS, 11, MSS + 5); // partly known
    we_say(A, 11, 16 + 3 * MSS, 0);
    peer_says(A, 1, 11, MSS); // known
    we_say(A, 11, 16 + 3 * MSS, 0);
    read_bytes(s, 15 + 3 * MSS);
    shim_option(s, TCP_QUICKACK, 1);
    peer_says(A, 16 + 3 * MSS, 11, MSS);
    we_say(A, 11, 16 + 4 * MSS, 0);
    end(s);
}

static void one_turn(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_option(s, TCP_QUICKACK, 0);
    shim_turn_goes_on = true;
    for (u32 i = 0; i < 8; i++)
        peer_says(A, 1 + i * MSS, 1, MSS);
    we_are_silent();
    shim_turn_ends();
    we_say(A, 1, 1 + 8 * MSS, 0);
    we_are_silent();
    shim_turn_goes_on = true;
    for (u32 i = 8; i < 20; i++)
        peer_says(A, 1 + i * MSS, 1, MSS);
    we_say(A, 1, 1 + 20 * MSS, 0); // more than 16 KiB: before the end
    shim_turn_ends();
    we_are_silent();
    read_bytes(s, 20 * MSS);
    end(s);
}

// Without scaling the header cannot say how much room there is: reading changes nothing.
static void unscaled_window(void) {
    script_begin();
    struct socket *s = open_to_peer(true);
    shim_option(s, TCP_QUICKACK, 0);
    shim_connection(s)->rcv.limit = TCP_RING_MOST;
    peer_says(A, 1, 1, MSS);
    for (u32 i = 0; i < 5; i++) {
        read_bytes(s, 100);
        we_are_silent();
    }
    pass(40 * MILLISECOND);
    we_say(A, 1, 1 + MSS, 0);
    end(s);
}

static void heard_range(u8 i, u32 start, u32 end_) {
    CHECK(heard.sacks[i].start - script.peer_iss, start);
    CHECK(heard.sacks[i].end - script.peer_iss, end_);
}

static void early_data(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    peer_says(A, 1001, 1, 100);
    we_say(A, 1, 1, 0);
    CHECK(heard.sack_count, 1);
    heard_range(0, 1001, 1101);
    peer_says(A, 3001, 1, 100);
    we_say(A, 1, 1, 0);
    peer_says(A, 2001, 1, 100);
    we_say(A, 1, 1, 0); // the latest first, then those before it
    CHECK(heard.sack_count, 3);
    heard_range(0, 2001, 2101);
    heard_range(1, 3001, 3101);
    heard_range(2, 1001, 1101);
    peer_says(A, 2101, 1, 900); // closes a gap between two
    we_say(A, 1, 1, 0);
    CHECK(heard.sack_count, 2);
    heard_range(0, 2001, 3101);
    peer_says(A, 1, 1, 1000);
    we_say(A, 1, 1101, 0);
    CHECK(heard.sack_count, 1);
    peer_says(A, 1050, 1, 1000); // overlaps on both sides
    we_say(A, 1, 3101, 0);
    CHECK(heard.sack_count, 0);
    read_bytes(s, 3100);
    for (u32 i = 0; i < 200; i++) { // more holes than are remembered
        peer_says(A, 4001 + 20 * i, 1, 10);
        we_say(A, 1, 3101, 0);
    }
    CHECK(shim_connection(s)->rcv.early->count, TCP_RANGES);
    peer_says(A, 3101, 1, 900);
    we_say(A, 1, 4011, 0);
    end(s);
}

static void our_window(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    u32 at = 1;
    for (; at + MSS <= 65537; at += MSS) // nobody reads
        peer_says(A, at, 1, MSS);
    while (hear())
        ;
    CHECK(heard.acknowledgement - script.peer_iss <= at, true);
    u32 left = 65537 - at;
    peer_says(A, at, 1, left + 100); // more than was offered
    we_say(A, 1, 65537, 0);
    CHECK(heard.window, 0);
    peer_says(A, 65537, 1, 1); // a probe
    we_say(A, 1, 65537, 0);
    CHECK(heard.window, 0);
    peer_says(A, 65536, 1, 0); // another kind
    we_say(A, 1, 65537, 0);
    read_bytes(s, 1000); // less than a segment: not worth a word
    we_are_silent();
    read_bytes(s, 1000);
    we_say(A, 1, 65537, 0);
    CHECK(heard.window << TCP_WINDOW_SHIFT >= 2000 - 3, true);
    read_bytes(s, 63536);
    we_say(A, 1, 65537, 0);
    u32 window = heard.window << TCP_WINDOW_SHIFT;
    CHECK(window >= 65532, true);
    CHECK(shim_connection(s)->rcv.ring.pages == NULL, true); // an idle connection holds no page
    CHECK(shim_connection(s)->rcv.limit > 65536, true);      // it was read fast: there is more
    end(s);
}

// The buffer grows beyond what a window without scaling can say. No acknowledgement is said twice: the
// peer would take it for a loss.
static void window_without_scaling(void) {
    script_begin();
    struct socket *s = open_to_peer(true);
    u32 acknowledged = 0, window = 0;

    for (u32 at = 1; at < 1000000; at += 1000) {
        peer_says(A, at, 1, 1000);
        if (at % 4000 == 1)
            read_bytes(s, MIN(at, 4000U));
        while (hear()) {
            CHECK(heard.acknowledgement == acknowledged && heard.window == window, false);
            acknowledged = heard.acknowledgement;
            window = heard.window;
        }
    }
    CHECK(shim_connection(s)->rcv.limit > 65536, true);
    end(s);
}

static void extreme_scale(void) {
    script_begin();
    struct socket *s = shim_socket();
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    option_mss(1); // not to be taken seriously
    option_scale(200);
    peer_says(S | A, 0, 1, 0);
    we_say(A, 1, 1, 0);
    CHECK(shim_connection(s)->snd.scale, 14);
    CHECK(shim_connection(s)->mss, TCP_MSS_LEAST);
    peer_says(A, 1, 1, 0);
    CHECK(shim_connection(s)->snd.wnd, 65535U << 14);
    write_bytes(s, 100);
    we_say(A, 1, 1, 48);
    we_say(A, 49, 1, 48);
    end(s);
}

static void small_segments(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    write_bytes(s, 10);
    we_say(A, 1, 1, 10);
    write_bytes(s, 10); // Nagle
    write_bytes(s, 10);
    we_are_silent();
    peer_says(A, 1, 11, 0);
    we_say(A, 11, 1, 20);
    shim_option(s, TCP_NODELAY, 1);
    write_bytes(s, 10);
    we_say(A, 31, 1, 10);
    shim_option(s, TCP_CORK, 1);
    write_bytes(s, MSS + 10);
    we_say(A, 41, 1, MSS);
    we_are_silent();
    peer_says(A, 1, 41 + MSS, 0);
    silent_until(shim_time + 200 * MILLISECOND); // not for ever
    we_say(A, 41 + MSS, 1, 10);
    write_bytes(s, 10);
    peer_says(A, 1, 51 + MSS, 0);
    we_are_silent();
    shim_option(s, TCP_CORK, 0);
    we_say(A, 51 + MSS, 1, 10);
    peer_says(A, 1, 61 + MSS, 0);
    CHECK(shim_send(s, "abc", 3, MSG_MORE), 3);
    we_are_silent();
    CHECK(shim_send(s, "d", 1, 0), 1);
    CHECK(hear(), true);
    CHECK(heard.length, 4);
    end(s);
}

static void keep_alive(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_option(s, TCP_KEEPIDLE, 10);
    shim_option(s, TCP_KEEPINTVL, 3);
    shim_option(s, TCP_KEEPCNT, 2);
    int on = 1;
    CHECK(tcp_protocol.set_option(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)), 0);
    silent_until(shim_time + 10 * SECOND);
    we_say(A, 0, 1, 0);
    peer_says(A, 1, 1, 0); // alive
    silent_until(shim_time + 10 * SECOND);
    we_say(A, 0, 1, 0);
    silent_until(shim_time + 3 * SECOND);
    we_say(A, 0, 1, 0);
    silent_until(shim_time + 3 * SECOND);
    we_say(R | A, 1, 1, 0);
    CHECK(shim_error(s), ETIMEDOUT);
    end(s);
    script_begin(); // a peer that keeps us alive: what was long ago is answered
    s = open_to_peer(false);
    peer_says(A, 0, 1, 0);
    we_say(A, 1, 1, 0);
    peer_says(A, 0, 1, 1);
    we_say(A, 1, 1, 0);
    end(s);
}

static void old_timestamps(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    script.stamp = 6000;
    peer_says(A, 1, 1, 10);
    pass(SECOND);
    we_say(A, 1, 11, 0);
    CHECK(heard.timestamp_echo, 6000);
    script.stamp = 5999; // PAWS
    peer_says(A, 11, 1, 10);
    we_say(A, 1, 11, 0);
    script.timestamps = false; // agreed on, and missing
    peer_says(A, 11, 1, 10);
    we_are_silent();
    script.timestamps = true;
    script.stamp = 6001;
    peer_says(A, 21, 1, 10); // early: its timestamp is not the one to echo
    we_say(A, 1, 11, 0);
    CHECK(heard.timestamp_echo, 6000);
    pass(25UL * 24 * 3600 * SECOND);
    script.stamp = 5000; // after 24 days the clock may have wrapped
    peer_says(A, 11, 1, 10);
    CHECK(shim_connection(s)->rcv.nxt - script.peer_iss, 31);
    end(s);
}

static void wrap_around(void) {
    for (u64 key = 1;; key++) { // a secret under which our numbers are about to wrap
        script_begin();
        tcp_hash_key(key, 0);
        struct socket *s = open_to_peer(false);
        bool high = script.our_iss > 0xffffc000;
        if (high) {
            u32 done = 1;
            write_bytes(s, 20 * MSS);
            while (hear()) {
                CHECK(heard.sequence - script.our_iss, done);
                done += heard.length;
                script.echo = heard.timestamp;
                peer_says(A, 1, done, 0);
            }
            CHECK(done, 1 + 20 * MSS);
            CHECK(script.our_iss + done < script.our_iss, true);
        }
        end(s);
        if (high)
            return;
    }
}

static void looking(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    int count;
    u8 bytes[10];
    peer_says(A, 1, 1, 10);
    CHECK(tcp_protocol.ioctl(s, FIONREAD, (u64)(uintptr_t)&count), 0);
    CHECK(count, 10);
    CHECK(shim_receive(s, bytes, 4, MSG_PEEK), 4);
    CHECK(bytes[3], stream_byte(4));
    CHECK(shim_receive(s, NULL, 0, 0), 0);
    struct iovec nowhere = {NULL, 5};
    struct message message = {.pieces = &nowhere, .count = 1, .size = 5, .flags = MSG_TRUNC};
    CHECK(tcp_protocol.receive(s, &message), 5); // thrown away
    CHECK(shim_receive(s, bytes, 10, 0), 5);
    CHECK(bytes[0], stream_byte(6));
    CHECK(shim_receive(s, bytes, 10, 0), -EAGAIN);
    CHECK(shim_receive(s, bytes, 10, MSG_OOB), -EOPNOTSUPP);
    write_bytes(s, 7);
    CHECK(tcp_protocol.ioctl(s, TIOCOUTQ, (u64)(uintptr_t)&count), 0);
    CHECK(count, 7);
    peer_says(A, 11, 8, 0);
    CHECK(tcp_protocol.ioctl(s, TIOCOUTQ, (u64)(uintptr_t)&count), 0);
    CHECK(count, 0);
    static u8 much[1 << 20];
    long done = 0, most = 0;
    while ((done = shim_send(s, much, sizeof(much), 0)) > 0)
        most += done;
    CHECK(done, -EAGAIN);
    CHECK(most <= 65536, true);
    CHECK(shim_poll(s) & POLLOUT, 0);
    s->send_buffer = 100000;
    CHECK(shim_send(s, much, sizeof(much), 0), 100000 - most);
    end(s);
}

int main(void) {
    delayed_acknowledgements();
    one_turn();
    unscaled_window();
    early_data();
    our_window();
    window_without_scaling();
    extreme_scale();
    small_segments();
    keep_alive();
    old_timestamps();
    wrap_around();
    looking();
    puts("ok");
}
