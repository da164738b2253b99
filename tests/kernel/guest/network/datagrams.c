// UDP over the loopback interface: addresses, ports, errors that come back, options, readiness.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../core/check.h"

static struct sockaddr_in local(unsigned port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int bound(struct sockaddr_in *name) {
    socklen_t size = sizeof(*name);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    *name = local(0);
    CHECK(fd >= 0 && bind(fd, (void *)name, size) == 0);
    CHECK(getsockname(fd, (void *)name, &size) == 0 && size == sizeof(*name));
    CHECK(ntohs(name->sin_port) >= 1024);
    return fd;
}

// What is sent over the loopback interface comes soon, but perhaps not at once.
static ssize_t receive(int fd, void *data, size_t size) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 5000) == 1);
    return recv(fd, data, size, MSG_DONTWAIT);
}

static void test_exchange(void) {
    struct sockaddr_in server_name, from;
    socklen_t size = sizeof(from);
    char text[64] = {0};
    int server = bound(&server_name), client = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP), left;
    CHECK(sendto(client, "hello", 5, 0, (void *)&server_name, sizeof(server_name)) == 5);
    CHECK(recvfrom(server, text, 64, 0, (void *)&from, &size) == 5 && strcmp(text, "hello") == 0);
    CHECK(from.sin_family == AF_INET && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(sendto(server, "answer", 6, 0, (void *)&from, size) == 6);
    CHECK(connect(client, (void *)&server_name, sizeof(server_name)) == 0);
    CHECK(receive(client, text, 64) == 6);
    CHECK(send(client, "", 0, 0) == 0 && send(client, "0123456789", 10, 0) == 10);
    CHECK(receive(server, text, 64) == 0);
    struct pollfd poll_fd = {server, POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 5000) == 1 && ioctl(server, FIONREAD, &left) == 0 && left == 10);
    CHECK(recv(server, text, 4, MSG_PEEK) == 4 &&
          recv(server, text, 4, MSG_PEEK | MSG_TRUNC) == 10);
    struct iovec pieces[2] = {{text, 3}, {text + 10, 4}};
    struct msghdr header = {.msg_iov = pieces, .msg_iovlen = 2};
    CHECK(recvmsg(server, &header, 0) == 7 && header.msg_flags == MSG_TRUNC);
    CHECK(memcmp(text, "012", 3) == 0 && memcmp(text + 10, "3456", 4) == 0);
    CHECK(recv(server, text, 64, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    CHECK(write(client, "read", 4) == 4 && read(server, text, 64) == 4);
    CHECK(close(server) == 0 && close(client) == 0);
}

static void test_sizes(void) {
    struct sockaddr_in name;
    static char data[70000], back[70000];
    int server = bound(&name), client = socket(AF_INET, SOCK_DGRAM, 0);
    size_t sizes[] = {1, 7, 1472, 1473, 9000, 65507};
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 31 + i / 256);
    CHECK(connect(client, (void *)&name, sizeof(name)) == 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CHECK(send(client, data + i, sizes[i], 0) == (ssize_t)sizes[i]);
        CHECK(receive(server, back, sizeof(back)) == (ssize_t)sizes[i]);
        CHECK(memcmp(data + i, back, sizes[i]) == 0);
    }
    CHECK(send(client, data, 65508, 0) < 0 && errno == EMSGSIZE);
    CHECK(close(server) == 0 && close(client) == 0);
}

static void test_refused(void) {
    struct sockaddr_in name;
    char c;
    int server = bound(&name), client = socket(AF_INET, SOCK_DGRAM, 0), error = 0;
    socklen_t size = sizeof(error);
    CHECK(close(server) == 0);
    CHECK(sendto(client, "x", 1, 0, (void *)&name, sizeof(name)) == 1); // nobody is told
    CHECK(connect(client, (void *)&name, sizeof(name)) == 0);
    CHECK(send(client, "x", 1, 0) == 1 && recv(client, &c, 1, 0) < 0 && errno == ECONNREFUSED);
    CHECK(send(client, "x", 1, 0) == 1);
    struct pollfd poll_fd = {client, POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 5000) == 1 && poll_fd.revents & POLLERR);
    CHECK(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED);
    CHECK(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    CHECK(close(client) == 0);
}

static void test_connected(void) {
    struct sockaddr_in name, other_name, nowhere = {.sin_family = AF_UNSPEC};
    socklen_t size = sizeof(name);
    char text[8];
    int a = bound(&name), b = bound(&other_name), c = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(a, (void *)&other_name, sizeof(other_name)) == 0);
    CHECK(sendto(c, "no", 2, 0, (void *)&name, sizeof(name)) == 2); // a hears only b now
    CHECK(sendto(b, "yes", 3, 0, (void *)&name, sizeof(name)) == 3);
    CHECK(receive(a, text, 8) == 3);
    CHECK(getpeername(a, (void *)&name, &size) == 0 && name.sin_port == other_name.sin_port);
    CHECK(connect(a, (void *)&nowhere, sizeof(nowhere)) == 0);
    CHECK(getpeername(a, (void *)&name, &size) < 0 && errno == ENOTCONN);
    CHECK(send(a, "x", 1, 0) < 0 && errno == EDESTADDRREQ);
    CHECK(close(a) == 0 && close(b) == 0 && close(c) == 0);
}

static void test_ports(void) {
    struct sockaddr_in name, any = {.sin_family = AF_INET};
    int yes = 1, a = bound(&name), b = socket(AF_INET, SOCK_DGRAM, 0);
    any.sin_port = name.sin_port;
    CHECK(bind(b, (void *)&name, sizeof(name)) < 0 && errno == EADDRINUSE);
    CHECK(bind(b, (void *)&any, sizeof(any)) < 0 && errno == EADDRINUSE);
    CHECK(setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    CHECK(bind(b, (void *)&name, sizeof(name)) < 0 && errno == EADDRINUSE);
    CHECK(setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    CHECK(bind(b, (void *)&any, sizeof(any)) == 0);
    CHECK(bind(b, (void *)&any, sizeof(any)) < 0 && errno == EINVAL);
    CHECK(close(a) == 0 && close(b) == 0);
    a = bound(&name); // another address with the same port is another place
    b = socket(AF_INET, SOCK_DGRAM, 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    CHECK(bind(b, (void *)&name, sizeof(name)) == 0);
    CHECK(close(a) == 0 && close(b) == 0);
}

static void test_packet_information(void) {
    struct sockaddr_in name, any = {.sin_family = AF_INET};
    socklen_t size = sizeof(any);
    int yes = 1, fd = socket(AF_INET, SOCK_DGRAM, 0), client = bound(&name), ttl = 5, found = 0;
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    char text[8];
    struct iovec piece = {text, 8};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    CHECK(bind(fd, (void *)&any, sizeof(any)) == 0 && getsockname(fd, (void *)&any, &size) == 0);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes)) == 0);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &yes, sizeof(yes)) == 0);
    CHECK(setsockopt(client, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) == 0);
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(sendto(client, "x", 1, 0, (void *)&any, sizeof(any)) == 1);
    CHECK(recvmsg(fd, &header, 0) == 1);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            CHECK(info.ipi_addr.s_addr == htonl(INADDR_LOOPBACK) && info.ipi_ifindex == 1);
            found++;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
            memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
            CHECK(ttl == 5);
            found++;
        }
    }
    CHECK(found == 2 && close(fd) == 0 && close(client) == 0);
}

static void test_full_queue(void) {
    struct sockaddr_in name;
    int small = 4096, fd = bound(&name), client = socket(AF_INET, SOCK_DGRAM, 0), got = 0;
    char data[1000] = {0};
    socklen_t size = sizeof(small);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, &size) == 0 && small == 8192);
    CHECK(connect(client, (void *)&name, sizeof(name)) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(send(client, data, sizeof(data), 0) == sizeof(data)); // what does not fit is lost
    CHECK(receive(fd, data, sizeof(data)) == sizeof(data));
    while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
        got++;
    CHECK(got > 0 && got < 20);
    CHECK(send(client, "more", 4, 0) == 4 && receive(fd, data, sizeof(data)) == 4);
    CHECK(close(fd) == 0 && close(client) == 0);
}

static void test_epoll(void) {
    struct sockaddr_in name;
    int fd = bound(&name), client = socket(AF_INET, SOCK_DGRAM, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = 7}, events[4];
    char text[8];
    CHECK(connect(client, (void *)&name, sizeof(name)) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(epoll_wait(epoll, events, 4, 0) == 0);
    CHECK(send(client, "a", 1, 0) == 1);
    CHECK(epoll_wait(epoll, events, 4, 5000) == 1 && events[0].events == EPOLLIN);
    CHECK(epoll_wait(epoll, events, 4, 0) == 0); // edge: told once
    CHECK(send(client, "b", 1, 0) == 1);
    CHECK(epoll_wait(epoll, events, 4, 5000) == 1);
    CHECK(recv(fd, text, 8, 0) == 1 && recv(fd, text, 8, 0) == 1);
    event.events = EPOLLIN | EPOLLOUT;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0);
    CHECK(epoll_wait(epoll, events, 4, 0) == 1 && events[0].events == EPOLLOUT);
    CHECK(close(fd) == 0 && epoll_wait(epoll, events, 4, 0) == 0);
    CHECK(close(client) == 0 && close(epoll) == 0);
}

// One thread asks, one answers.
enum { ROUNDS = 1000 };

static void *answer(void *argument) {
    int fd = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        char text[32];
        ssize_t got = recvfrom(fd, text, sizeof(text), 0, (void *)&from, &size);
        CHECK(got > 0 && sendto(fd, text, (size_t)got, 0, (void *)&from, size) == got);
    }
    return NULL;
}

static void test_threads(void) {
    struct sockaddr_in name;
    pthread_t thread;
    int server = bound(&name), client = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(client, (void *)&name, sizeof(name)) == 0);
    CHECK(pthread_create(&thread, NULL, answer, (void *)(intptr_t)server) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        int back = -1;
        CHECK(send(client, &i, sizeof(i), 0) == sizeof(i));
        CHECK(recv(client, &back, sizeof(back), 0) == sizeof(back) && back == i);
    }
    CHECK(pthread_join(thread, NULL) == 0 && close(server) == 0 && close(client) == 0);
}

int main(void) {
    test_exchange();
    test_sizes();
    test_refused();
    test_connected();
    test_ports();
    test_packet_information();
    test_full_queue();
    test_epoll();
    test_threads();
    puts("datagrams: ok");
    return 0;
}
