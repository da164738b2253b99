// What applications ask for and must not, with the errors of Linux; options; a device without room.

#include <netinet/in.h>
#include <sys/ioctl.h>

#include "tcp_script.h"

static void end(struct socket *socket) {
    socket->linger = (struct linger){1, 0};
    shim_close(socket);
    nothing_left();
}

static void closing_a_listener(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    for (int i = 0; i < 4; i++, script.peer_port++) { // one of them is dead already
        peer_says(S, 0, 0, 0);
        CHECK(hear(), true);
        script.our_iss = heard.sequence;
        peer_says(A, 1, 1, 10);
        if (i == 2)
            peer_says(R, 11, 0, 0);
    }
    CHECK(tcp_protocol.listen(listener, 7), 0); // again: another bound
    shim_close(listener);
    for (int resets = 0; resets < 3;)
        resets += hear() && heard.flags == (R | A);
    nothing_left();
}

static void shutting_a_listener(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5), *made;
    CHECK(shim_poll(listener), 0);
    CHECK(tcp_protocol.shutdown(listener, SHUT_RDWR), 0);
    CHECK(tcp_protocol.accept(listener, &made), -EINVAL);
    CHECK(shim_poll(listener) & POLLHUP, POLLHUP);
    end(listener);
}

static void not_now(void) {
    u8 byte;
    int count;

    script_begin();
    struct socket *s = shim_socket(), *made;
    CHECK(shim_poll(s) & (POLLOUT | POLLHUP | POLLIN), POLLOUT | POLLHUP);
    CHECK(tcp_protocol.shutdown(s, SHUT_WR), -ENOTCONN);
    CHECK(tcp_protocol.shutdown(s, 9), -EINVAL);
    CHECK(tcp_protocol.accept(s, &made), -EINVAL);
    CHECK(shim_send(s, "x", 1, 0), -EPIPE);
    CHECK(shim_send(s, "x", 1, MSG_OOB), -EOPNOTSUPP);
    CHECK(shim_receive(s, &byte, 1, 0), -ENOTCONN);
    CHECK(shim_connect(s, "224.0.0.1", 80), -ENETUNREACH);
    CHECK(shim_connect(s, "255.255.255.255", 80), -ENETUNREACH);
    struct sockaddr_in six = {.sin_family = AF_INET6};
    CHECK(tcp_protocol.connect(s, (struct sockaddr *)&six, sizeof(six)), -EAFNOSUPPORT);
    CHECK(tcp_protocol.bind(s, (struct sockaddr *)&six, 3), -EINVAL);
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(shim_connect(s, PEER, script.peer_port), -EALREADY);
    CHECK(shim_send(s, "x", 1, 0), -EAGAIN);
    CHECK(tcp_protocol.listen(s, 1), -EINVAL);
    CHECK(tcp_protocol.shutdown(s, SHUT_RDWR), 0);
    shim_close(s);
    shim_forget_sent();
    script_begin();
    s = open_to_peer(false);
    CHECK(shim_connect(s, PEER, script.peer_port), -EISCONN);
    CHECK(tcp_protocol.listen(s, 1), -EINVAL);
    CHECK(shim_bind(s, US, 5), -EINVAL);
    CHECK(shim_send(s, "x", 0, 0), 0);
    CHECK(tcp_protocol.ioctl(s, 12345, 0), -ENOTTY);
    struct sockaddr nobody = {.sa_family = AF_UNSPEC}; // undoes the connection
    CHECK(tcp_protocol.connect(s, &nobody, sizeof(nobody)), 0);
    CHECK(hear(), true);
    CHECK(heard.flags, R | A);
    CHECK(tcp_protocol.ioctl(s, TIOCOUTQ, (u64)(uintptr_t)&count), 0);
    CHECK(count, 0);
    end(s);
}

static void bound_and_connected(void) {
    script_begin();
    struct socket *a = shim_socket(), *b = shim_socket();
    a->reuse_address = b->reuse_address = true;
    CHECK(shim_bind(a, US, 4000), 0);
    CHECK(shim_bind(b, "0.0.0.0", 4000), 0);
    CHECK(shim_connect(a, PEER, 1), -EINPROGRESS);
    CHECK(hear(), true);
    CHECK(heard_from, 4000);
    CHECK(shim_connect(b, PEER, 1), -EADDRNOTAVAIL); // there is one like it
    CHECK(shim_connect(b, PEER, 2), -EINPROGRESS);
    shim_close(a);
    end(b);
}

static int get(struct socket *s, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    int status = tcp_protocol.get_option(s, IPPROTO_TCP, name, &value, &size);
    return status < 0 ? status : value;
}

static int set(struct socket *s, int name, int value) {
    return tcp_protocol.set_option(s, IPPROTO_TCP, name, &value, sizeof(value));
}

static void options(void) {
    static const struct {
        int name, before, good, bad;
    } all[] = {
        {TCP_NODELAY, 0, 1, INT32_MAX},  {TCP_CORK, 0, 1, INT32_MAX},
        {TCP_QUICKACK, 1, 1, INT32_MAX}, {TCP_MAXSEG, 536, 1000, 40000},
        {TCP_KEEPIDLE, 7200, 100, 0},    {TCP_KEEPINTVL, 75, 5, 40000},
        {TCP_KEEPCNT, 9, 3, 128},        {TCP_SYNCNT, 6, 2, 0},
        {TCP_USER_TIMEOUT, 0, 5000, -1}, {TCP_LINGER2, 60, 7, INT32_MAX},
    };

    script_begin();
    struct socket *s = shim_socket();
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        CHECK(get(s, all[i].name), all[i].before);
        if (all[i].bad != INT32_MAX)
            CHECK(set(s, all[i].name, all[i].bad), -EINVAL);
        CHECK(get(s, all[i].name), all[i].before);
        CHECK(set(s, all[i].name, all[i].good), 0);
        CHECK(get(s, all[i].name), all[i].good);
    }
    CHECK(set(s, 999, 1), -ENOPROTOOPT);
    CHECK(get(s, 999), -ENOPROTOOPT);
    CHECK(tcp_protocol.set_option(s, IPPROTO_TCP, TCP_NODELAY, "", 1), -EINVAL);
    CHECK(tcp_protocol.set_option(s, IPPROTO_IP, 1, &s, 4), -ENOPROTOOPT);
    char name[16] = "";
    socklen_t size = sizeof(name);
    CHECK(tcp_protocol.get_option(s, IPPROTO_TCP, TCP_CONGESTION, name, &size), 0);
    CHECK(strcmp(name, "reno"), 0);
    CHECK(shim_connect(s, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    CHECK(heard.mss, 1000); // TCP_MAXSEG is said, too
    end(s);
}

static void small_receive_buffer(void) {
    script_begin();
    struct socket *listener = shim_listener(US, 80, 5);
    listener->receive_buffer = 5000;
    struct socket *s = open_from_peer(listener, false);
    CHECK(s->receive_buffer, 5000);
    for (u32 at = 1; at < 4345; at += 1448)
        peer_says(A, at, 1, 1448);
    while (hear())
        ;
    CHECK(heard.window << TCP_WINDOW_SHIFT <= 5000, true);
    peer_says(A, 4345, 1, 1448); // 656 fit
    we_say(A, 1, 5001, 0);
    CHECK(heard.window, 0);
    read_bytes(s, 5000);
    we_say(A, 1, 5001, 0);
    CHECK(heard.window << TCP_WINDOW_SHIFT, 5000);
    shim_close(listener);
    end(s);
}

static void device_without_room(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_card_full = true;
    write_bytes(s, 100);
    we_are_silent();
    shim_card_full = false;
    silent_until(shim_time + 200 * MILLISECOND);
    we_say(A, 1, 1, 100); // as if it was sent for the first time
    CHECK(shim_info(s).tcpi_total_retrans, 0);
    end(s);
}

static void checksums_left_to_the_device(void) {
    script_begin();
    struct socket *s = open_to_peer(false);
    shim_card.sends_checksums = true;
    write_bytes(s, 100);
    struct shim_frame *frame = shim_next_sent();
    const struct ipv4_header *ip = (const void *)(frame->bytes + 14);
    size_t size = swap16(ip->total_length) - IPV4_HEADER;
    // What a device does: it adds up from the header on, whose field holds the pseudo header's sum.
    u16 sum = checksum_finish(checksum_add(0, ip + 1, size));
    memcpy((u8 *)(ip + 1) + 16, &sum, 2);
    u64 all = checksum_pseudo_header(ip->source, ip->destination, IP_TCP, size);
    CHECK(checksum_finish(checksum_add(all, ip + 1, size)), 0);
    free(frame);
    shim_card.sends_checksums = false;
    end(s);
}

int main(void) {
    closing_a_listener();
    shutting_a_listener();
    not_now();
    bound_and_connected();
    options();
    small_receive_buffer();
    device_without_room();
    checksums_left_to_the_device();
    puts("ok");
}
