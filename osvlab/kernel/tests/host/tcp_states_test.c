// Every transition of RFC 9293's diagram of states (figure 5), and what belongs to none of them:
// opening, closing, resetting, TIME_WAIT, listening.

#include <netinet/in.h>
#include <sys/ioctl.h>

#include "tcp_script.h"

static void end(struct socket *socket) {
    if (socket)
        shim_close(socket);
    pass(3600 * SECOND);
    nothing_left();
}

static void active_close(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    peer_says(A | P, 1, 1, 100);
    pass(40 * MILLISECOND);
    we_say(A, 1, 101, 0);
    read_bytes(s, 100);
    write_bytes(s, 10);
    we_say(A, 1, 101, 10);
    CHECK(tcp_protocol.shutdown(s, SHUT_WR), 0);
    CHECK(state_of(s), TCP_FIN_WAIT1);
    we_say(F | A, 11, 101, 0);
    CHECK(shim_send(s, "x", 1, 0), -EPIPE);
    peer_says(A, 101, 12, 0);
    CHECK(state_of(s), TCP_FIN_WAIT2);
    int left = -1; // the FIN is no byte
    CHECK(tcp_protocol.ioctl(s, TIOCOUTQ, (u64)(uintptr_t)&left), 0);
    CHECK(left, 0);
    peer_says(A, 101, 12, 50); // half closed: the other half goes on
    pass(40 * MILLISECOND);
    we_say(A, 12, 151, 0);
    peer_says(F | A, 151, 12, 0);
    CHECK(state_of(s), TCP_TIME_WAIT);
    we_say(A, 12, 152, 0);
    read_bytes(s, 50);
    CHECK(shim_receive(s, NULL, 0, 0), 0);
    CHECK(shim_poll(s) & POLLHUP, POLLHUP);
    shim_close(s);
    pass(30 * SECOND);
    peer_says(F | A, 151, 12, 0); // it did not hear us
    we_say(A, 12, 152, 0);
    pass(59 * SECOND);
    CHECK(tcp_time_wait_count, 1);
    pass(SECOND);
    nothing_left();
}

static void passive_close(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5), *s = open_from_peer(listener, false);
    peer_says(F | A, 1, 1, 30);
    CHECK(state_of(s), TCP_CLOSE_WAIT);
    we_say(A, 1, 32, 0);
    CHECK(shim_poll(s) & (POLLIN | POLLRDHUP | POLLHUP), POLLIN | POLLRDHUP);
    read_bytes(s, 30);
    CHECK(shim_receive(s, heard_data, 1, 0), 0);
    write_bytes(s, 5);
    we_say(A, 1, 32, 5);
    shim_close(s);
    we_say(F | A, 6, 32, 0);
    CHECK(tcp_orphan_count, 1);
    peer_says(A, 32, 7, 0);
    CHECK(tcp_orphan_count, 0);
    end(listener);
}

static void simultaneous_open(void) {
    script_begin();
    struct socket *s = shim_socket();
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    option_mss(1000);
    peer_says(S, 0, 0, 0);
    CHECK(state_of(s), TCP_SYN_RECV);
    we_say(S | A, 0, 1, 0);
    peer_says(S | A, 0, 1, 0); // the peer's own answer
    CHECK(state_of(s), TCP_ESTABLISHED);
    we_are_silent();
    write_bytes(s, 1000);
    we_say(A, 1, 1, 1000);
    shim_close(s);
    we_say(F | A, 1001, 1, 0);
    peer_says(F | A, 1, 1002, 0);
    we_say(A, 1002, 2, 0);
    end(NULL);
}

static void simultaneous_close(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(F | A, 1, 1, 0); // sent before ours came
    we_say(A, 2, 2, 0);
    CHECK(tcp_time_wait_count, 0); // CLOSING
    peer_says(A, 2, 2, 0);
    CHECK(tcp_time_wait_count, 1);
    end(NULL);

    script_begin(); // a peer that repeats its FIN instead
    s = open_to_peer(false);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(F | A, 1, 1, 0);
    we_say(A, 2, 2, 0);
    peer_says(F | A, 1, 2, 0);
    we_say(A, 2, 2, 0);
    CHECK(tcp_time_wait_count, 1);
    pass(SECOND);
    we_are_silent();
    end(NULL);
}

static void fin_with_acknowledgement(void) {
    script_begin();
    struct socket *s = open_to_peer(true);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(F | A, 1, 2, 0); // FIN_WAIT1 to TIME_WAIT at once
    we_say(A, 2, 2, 0);
    CHECK(tcp_time_wait_count, 1);
    end(NULL);
}

static void fin_out_of_order(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    peer_says(F | A, 11, 1, 10);
    we_say(A, 1, 1, 0);
    CHECK(heard.sack_count, 1);
    CHECK(state_of(s), TCP_ESTABLISHED);
    peer_says(A, 1, 1, 10);
    CHECK(state_of(s), TCP_CLOSE_WAIT);
    we_say(A, 1, 22, 0);
    read_bytes(s, 20);
    shim_close(s);
    we_say(F | A, 1, 22, 0);
    peer_says(A, 22, 2, 0);
    end(NULL);
}

static void close_before_the_answer(void) { // SYN_SENT to CLOSED
    script_begin();
    struct socket *s = shim_socket();
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    shim_close(s);
    nothing_left();
    script.our_port = heard_from;
    script.our_iss = heard.sequence;
    peer_says(S | A, 0, 1, 0);
    we_say(R, 1, 0, 0);
}

static void refused(void) {
    script_begin();
    struct socket *s = shim_socket();
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    peer_says(R, 0, 0, 0); // without an ACK it proves nothing
    peer_says(R | A, 0, 99, 0);
    CHECK(state_of(s), TCP_SYN_SENT);
    peer_says(A, 0, 99, 0); // an old connection's: RFC 9293, figure 9
    we_say(R, 99, 0, 0);
    peer_says(R | A, 0, 1, 0);
    CHECK(shim_error(s), ECONNREFUSED);
    CHECK(shim_poll(s) & POLLHUP, POLLHUP);
    CHECK(shim_connect(s, PEER, ++script.peer_port), -EINPROGRESS); // the socket can be used again
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    option_mss(1460);
    peer_says(S | A, 0, 1, 0);
    we_say(A, 1, 1, 0);
    peer_says(R, 1, 0, 0);
    CHECK(shim_error(s), ECONNRESET);
    end(s);
}

static void resets(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    peer_says(A, 1, 1, 20);
    pass(SECOND);
    we_say(A, 1, 21, 0);
    peer_says(R, 22, 0, 0); // in the window, but not exact (RFC 5961)
    we_say(A, 1, 21, 0);
    peer_says(R, 12, 0,
              20); // what it brings along reaches to where we are: that counts for nothing
    we_say(A, 1, 21, 0);
    peer_says(R, 20, 0, 0); // outside
    peer_says(R, 21 + 300000, 0, 0);
    we_are_silent();
    pass(SECOND);
    peer_says(S, 30, 0, 0);
    we_say(A, 1, 21, 0);
    for (int i = 0; i < 100; i++)
        peer_says(S | A, 30, 1, 0);
    for (int i = 0; i < 9; i++) // ten in a second
        we_say(A, 1, 21, 0);
    we_are_silent();
    CHECK(state_of(s), TCP_ESTABLISHED);
    peer_says(R, 21, 0, 0);
    CHECK(state_of(s), TCP_CLOSE);
    CHECK(shim_error(s), ECONNRESET);
    read_bytes(s, 20); // what came before can still be read
    CHECK(shim_receive(s, heard_data, 1, 0), 0);
    CHECK(shim_send(s, "x", 1, 0), -EPIPE);
    end(s);
}

static void strange_acknowledgements(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    write_bytes(s, 100);
    we_say(A, 1, 1, 100);
    peer_says(A, 1, 102, 0); // of what was never sent
    we_say(A, 101, 1, 0);
    peer_says(A, 1, (u32)-70000000, 0); // too old to be true
    we_say(A, 101, 1, 0);
    peer_says(0, 1, 0, 10); // without ACK
    we_are_silent();
    peer_says(A, 1, 101, 0);
    peer_says(A | U, 1, 101, 3); // urgent: bytes like others
    pass(SECOND);
    we_say(A, 101, 4, 0);
    read_bytes(s, 3);
    s->linger = (struct linger){1, 0};
    shim_close(s);
    we_say(R | A, 101, 4, 0);
    end(NULL);
}

static void abrupt_ends(void) {
    script_begin(); // data that nobody has read
    struct socket *s = open_to_peer(false);
    peer_says(A, 1, 1, 20);
    shim_close(s);
    we_say(R | A, 1, 21, 0);
    nothing_left();

    script_begin(); // data after close
    s = open_to_peer(false);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(A, 1, 2, 20);
    we_say(R | A, 2, 1, 0);
    nothing_left();

    script_begin(); // a peer that never says FIN
    s = open_to_peer(false);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(A, 1, 2, 0);
    pass(60 * SECOND - 1);
    CHECK(tcp_orphan_count, 1);
    pass(1);
    nothing_left();
}

static void nobody_there(void) {
    script_begin();
    script.our_iss = 5000;
    peer_says(S, 0, 0, 10);
    we_say(R | A, (u32)-5000, 11, 0);
    peer_says(A, 5, 77, 10);
    we_say(R, 77, 0, 0);
    peer_says(R | A, 5, 77, 0);
    peer_says(R, 5, 77, 0);
    we_are_silent();
    nothing_left();
}

static void listen_refuses(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    peer_says(A, 1, 50, 0);
    CHECK(hear(), true);
    CHECK(heard.flags, R);
    peer_says(R, 1, 50, 0);
    peer_says(0, 1, 50, 0);
    peer_says(S | F, 1, 0, 0);
    we_are_silent();
    peer_says(S, 0, 0, 0);
    CHECK(hear(), true);
    CHECK(heard.flags, S | A);
    script.our_iss = heard.sequence;
    peer_says(A, 1, 2, 0); // not what we said
    we_say(R, 2, 0, 0);
    peer_says(S, 0, 0, 0); // again: it did not hear the answer
    we_say(S | A, 0, 1, 0);
    peer_says(R, 1, 0, 0); // back to LISTEN
    CHECK(tcp_connection_count, 1);
    peer_says(S, 0, 0, 0);
    CHECK(hear(), true);
    shim_close(listener); // with a half-open connection
    CHECK(hear(), true);
    CHECK(heard.flags, R | A);
    nothing_left();
}

static void half_open_ends(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    u64 start = shim_time;
    peer_says(S, 0, 0, 0);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    static const u64 times[] = {1, 3, 7, 15, 31};
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        silent_until(start + times[i] * SECOND);
        we_say(S | A, 0, 1, 0);
    }
    silent_until(start + 63 * SECOND);
    we_are_silent();
    CHECK(tcp_connection_count, 1);
    end(listener);
}

static void flood(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    for (unsigned i = 0; i < 5000; i++) {
        script.peer_port++;
        peer_says(S, 0, 0, 0);
        shim_forget_sent();
    }
    CHECK(tcp_connection_count, 1 + 256);
    script.peer_port++;
    struct socket *s = open_from_peer(listener, false); // an honest one comes through
    CHECK(tcp_connection_count, 1 + 256);
    shim_close(s);
    CHECK(hear(), true);
    peer_says(F | A, 1, 2, 0);
    end(listener);
}

static void accept_queue(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 1);
    u32 iss[3];
    u16 first = script.peer_port;
    for (int i = 0; i < 3; i++) {
        peer_says(S, 0, 0, 0);
        CHECK(hear(), true);
        iss[i] = heard.sequence;
        script.peer_port++;
    }
    for (int i = 0; i < 3; i++) {
        script.peer_port = (u16)(first + i);
        script.our_iss = iss[i];
        peer_says(A, 1, 1, 0);
    }
    script.peer_port = (u16)(first + 9);
    peer_says(S, 0, 0, 0); // full: as if it had been lost
    we_are_silent();
    struct socket *a = shim_accept(listener), *b = shim_accept(listener);
    CHECK(a != NULL && b != NULL, true);
    CHECK(shim_accept(listener) == NULL, true);
    script.peer_port = (u16)(first + 2);
    pass(SECOND); // we say it again, and so does the third peer
    we_say(S | A, 0, 1, 0);
    peer_says(A, 1, 1, 0);
    struct socket *c = shim_accept(listener);
    CHECK(c != NULL, true);
    peer_says(R, 1, 0, 0);
    CHECK(shim_error(c), ECONNRESET);
    shim_close(c);
    // One that comes and goes before it is accepted is accepted, and says so.
    script.peer_port = (u16)(first + 5);
    peer_says(S, 0, 0, 0);
    CHECK(hear(), true);
    script.our_iss = heard.sequence;
    peer_says(A, 1, 1, 0);
    peer_says(R, 1, 0, 0);
    c = shim_accept(listener);
    CHECK(shim_error(c), ECONNRESET);
    shim_close(c);
    shim_close(listener);
    a->linger = b->linger = (struct linger){1, 0};
    shim_close(a);
    shim_close(b);
    nothing_left();
}

static void leave_in_time_wait(struct socket *listener) {
    struct socket *s = open_from_peer(listener, false);
    shim_close(s);
    we_say(F | A, 1, 1, 0);
    peer_says(F | A, 1, 2, 0);
    we_say(A, 2, 2, 0);
}

static void time_wait_again(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    leave_in_time_wait(listener);
    script.peer_iss += 5;
    script.stamp--;
    peer_says(S, 0, 0, 0); // older than what we know: an old duplicate
    CHECK(hear(), true);
    CHECK(heard.flags, A);
    script.stamp += 2;
    u32 old_iss = script.our_iss;
    script.timestamps = false;
    struct socket *s = open_from_peer(listener, false); // newer: a new connection
    CHECK((int32_t)(script.our_iss - old_iss) > 65535, true);
    CHECK(tcp_time_wait_count, 0);
    shim_close(s);
    CHECK(hear(), true);
    peer_says(R, 1, 0, 0);
    for (int i = 0; i < 1500; i++) { // so many are too many
        script.peer_port++;
        leave_in_time_wait(listener);
    }
    CHECK(tcp_time_wait_count, 1024);
    end(listener);
}

static void ports(void) {
    script_begin();
    struct socket *a = shim_listener("0.0.0.0", 80, 1), *b = shim_socket(), *c = shim_socket();
    CHECK(shim_bind(b, US, 80), -EADDRINUSE);
    b->reuse_address = true;
    CHECK(shim_bind(b, US, 80), -EADDRINUSE); // somebody listens
    CHECK(shim_bind(b, "9.9.9.9", 80), -EADDRNOTAVAIL);
    CHECK(shim_bind(b, US, 81), 0);
    CHECK(shim_bind(b, US, 82), -EINVAL);
    CHECK(shim_bind(c, US, 81), -EADDRINUSE);
    c->reuse_address = true;
    CHECK(shim_bind(c, US, 81), 0); // both agree
    CHECK(tcp_protocol.listen(b, 1), 0);
    CHECK(tcp_protocol.listen(c, 1), -EADDRINUSE); // but not to listen
    shim_close(a);
    leave_in_time_wait((a = shim_listener(US, 80, 1)));
    shim_close(a);
    a = shim_socket();
    CHECK(shim_bind(a, US, 80), -EADDRINUSE); // TIME_WAIT is in the way
    a->reuse_address = true;
    CHECK(shim_bind(a, US, 80), 0); // unless one says so
    struct socket *d = shim_socket();
    CHECK(shim_bind(d, US, 0), 0);
    struct sockaddr_storage name;
    socklen_t size;
    CHECK(tcp_protocol.name(d, false, &name, &size), 0);
    CHECK(swap16(((struct sockaddr_in *)&name)->sin_port) >= 32768, true);
    CHECK(tcp_protocol.name(d, true, &name, &size), -ENOTCONN);
    shim_close(a);
    shim_close(b);
    shim_close(c);
    end(d);
}

static void address_lost(void) {
    script_begin();
    struct socket *listener = shim_listener("0.0.0.0", 80, 5), *s = open_from_peer(listener, false);
    tcp_address_gone(shim_address(US));
    CHECK(shim_error(s), ECONNABORTED);
    CHECK(state_of(listener), TCP_LISTEN);
    shim_close(s);
    end(listener);
}

static void secret_hash(void) {
    tcp_hash_key(0x0706050403020100, 0x0f0e0d0c0b0a0908); // the vector of SipHash's paper
    CHECK(tcp_hash(0x0706050403020100, 0x0f0e0d0c0b0a0908) == 0x3f2acc7f57c29bdb, true);
}

int main(void) {
    secret_hash();
    active_close();
    passive_close();
    simultaneous_open();
    simultaneous_close();
    fin_with_acknowledgement();
    fin_out_of_order();
    close_before_the_answer();
    refused();
    resets();
    strange_acknowledgements();
    abrupt_ends();
    nobody_there();
    listen_refuses();
    half_open_ends();
    flood();
    accept_queue();
    time_wait_again();
    ports();
    address_lost();
    puts("ok");
}
