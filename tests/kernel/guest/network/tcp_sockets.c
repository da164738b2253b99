// TCP sockets over loopback, as Linux has them: calls that wait and calls that do not, ends of every
// kind, errors, options, and megabytes both ways at once. Runs on Linux and on the lab kernel.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(actual, expected)                                                                    \
    do {                                                                                           \
        long actual_ = (long)(actual), expected_ = (long)(expected);                               \
        if (actual_ != expected_) {                                                                \
            printf("%s:%d: %s is %ld, not %ld (errno %d)\n", __FILE__, __LINE__, #actual, actual_, \
                   expected_, errno);                                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define FAILS(call, error)   \
    do {                     \
        errno = 0;           \
        CHECK(call, -1);     \
        CHECK(errno, error); \
    } while (0)

static struct sockaddr_in here(int listener) {
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    CHECK(size, sizeof(address));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_somewhere(void) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listen(s, 5), 0);
    return s;
}

static int call(int listener, int flags) {
    struct sockaddr_in address = here(listener);
    int s = socket(AF_INET, SOCK_STREAM | flags, 0);
    int status = connect(s, (struct sockaddr *)&address, sizeof(address));
    CHECK(status == 0 || errno == EINPROGRESS, 1);
    return s;
}

static void pair(int *a, int *b) {
    int listener = listen_somewhere();
    *a = call(listener, 0);
    *b = accept(listener, NULL, NULL);
    CHECK(*b >= 0, 1);
    close(listener);
}

static short events(int s, short wanted, int timeout) {
    struct pollfd p = {s, wanted, 0};
    poll(&p, 1, timeout);
    return p.revents;
}

static int error_of(int s) {
    int error = -1;
    socklen_t size = sizeof(error);
    CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    return error;
}

static void names_and_ends(void) {
    int a, b;
    char byte;
    struct sockaddr_in mine, theirs;
    socklen_t size = sizeof(mine);
    pair(&a, &b);
    CHECK(getsockname(a, (struct sockaddr *)&mine, &size), 0);
    CHECK(getpeername(b, (struct sockaddr *)&theirs, &size), 0);
    CHECK(memcmp(&mine, &theirs, sizeof(mine)), 0);
    CHECK(send(a, "hello", 5, 0), 5);
    CHECK(recv(b, &byte, 1, MSG_PEEK), 1);
    int there = 0;
    CHECK(ioctl(b, FIONREAD, &there), 0);
    CHECK(there, 5);
    char text[6] = "";
    CHECK(recv(b, text, 5, MSG_WAITALL), 5);
    CHECK(strcmp(text, "hello"), 0);
    FAILS(recv(b, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(shutdown(a, SHUT_WR), 0);
    CHECK(events(b, POLLRDHUP, 1000), POLLRDHUP);
    CHECK(events(b, POLLIN | POLLRDHUP | POLLOUT, 0), POLLIN | POLLRDHUP | POLLOUT);
    CHECK(recv(b, &byte, 1, 0), 0);
    CHECK(send(b, "still", 5, 0), 5); // half closed
    CHECK(recv(a, text, 5, MSG_WAITALL), 5);
    FAILS(send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(shutdown(b, SHUT_WR), 0);
    CHECK(events(a, POLLIN, 1000), POLLIN | POLLHUP);
    close(a);
    close(b);
}

static void resets(void) {
    int a, b;
    char byte;
    pair(&a, &b);
    struct linger now = {1, 0};
    CHECK(send(a, "last", 4, 0), 4);
    CHECK(events(b, POLLIN, 1000), POLLIN);
    CHECK(setsockopt(a, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(a);
    CHECK(events(b, 0, 1000) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
    FAILS(send(b, "x", 1, MSG_NOSIGNAL), ECONNRESET);
    FAILS(send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(b);
    pair(&a, &b); // closed with something unread
    CHECK(send(a, "unread", 6, 0), 6);
    CHECK(events(b, POLLIN, 1000), POLLIN);
    close(b);
    CHECK(events(a, POLLIN, 1000) & (POLLIN | POLLERR | POLLHUP), POLLIN | POLLERR | POLLHUP);
    FAILS(recv(a, &byte, 1, 0), ECONNRESET);
    CHECK(recv(a, &byte, 1, 0), 0);
    close(a);
}

static void connecting(void) {
    int listener = listen_somewhere();
    struct sockaddr_in address = here(listener);
    int s = call(listener, SOCK_NONBLOCK);
    CHECK(events(s, POLLOUT, 1000), POLLOUT);
    CHECK(error_of(s), 0);
    CHECK(connect(s, (struct sockaddr *)&address, sizeof(address)), 0); // it is told once
    FAILS(connect(s, (struct sockaddr *)&address, sizeof(address)), EISCONN);
    CHECK(events(listener, POLLIN, 1000), POLLIN);
    int t = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    char byte;
    FAILS(recv(t, &byte, 1, 0), EAGAIN);
    close(t);
    CHECK(events(s, POLLIN, 1000), POLLIN);
    CHECK(recv(s, &byte, 1, 0), 0);
    close(s);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    FAILS(accept(listener, NULL, NULL), EAGAIN);
    close(listener);
    s = socket(AF_INET, SOCK_STREAM, 0); // nobody is there any more
    FAILS(connect(s, (struct sockaddr *)&address, sizeof(address)), ECONNREFUSED);
    FAILS(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(recv(s, &byte, 1, 0), ENOTCONN);
    close(s);
    s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int status = connect(s, (struct sockaddr *)&address, sizeof(address));
    CHECK(status, -1);
    if (errno == EINPROGRESS) {
        CHECK(events(s, POLLOUT, 1000) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
        CHECK(error_of(s), ECONNREFUSED);
    }
    close(s);
}

static void ports(void) {
    int a = listen_somewhere(), b = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = here(a);
    FAILS(bind(b, (struct sockaddr *)&address, sizeof(address)), EADDRINUSE);
    CHECK(setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    CHECK(setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    FAILS(bind(b, (struct sockaddr *)&address, sizeof(address)), EADDRINUSE);
    int s = call(a, 0), t = accept(a, NULL, NULL);
    close(t); // closes first: TIME_WAIT has the port
    char byte;
    CHECK(recv(s, &byte, 1, 0), 0);
    close(s);
    close(a);
    CHECK(bind(b, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK(listen(b, 1), 0);
    s = call(b, 0);
    t = accept(b, NULL, NULL);
    CHECK(t >= 0, 1);
    close(s);
    close(t);
    close(b);
}

static int number_of(int s, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    CHECK(getsockopt(s, IPPROTO_TCP, name, &value, &size), 0);
    return value;
}

static void options(void) {
    int a, b, value = 30;
    pair(&a, &b);
    CHECK(number_of(a, TCP_NODELAY), 0);
    CHECK(setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)), 0);
    CHECK(number_of(a, TCP_NODELAY), 1);
    CHECK(number_of(a, TCP_KEEPIDLE), 7200);
    CHECK(setsockopt(a, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(value)), 0);
    CHECK(number_of(a, TCP_KEEPIDLE), 30);
    CHECK(setsockopt(a, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)), 0);
    value = 0;
    FAILS(setsockopt(a, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(value)), EINVAL);
    FAILS(setsockopt(a, IPPROTO_TCP, 12345, &value, sizeof(value)), ENOPROTOOPT);
    struct tcp_info info;
    socklen_t size = sizeof(info);
    CHECK(getsockopt(b, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    CHECK(info.tcpi_state, TCP_ESTABLISHED);
    CHECK(info.tcpi_snd_mss > 500, 1);
    close(a);
    close(b);
}

static void *wake_by_shutdown(void *argument) {
    usleep(50000);
    CHECK(shutdown(*(int *)argument, SHUT_RDWR), 0);
    return NULL;
}

static void waiting_accept_is_woken(void) {
    int listener = listen_somewhere();
    pthread_t thread;
    pthread_create(&thread, NULL, wake_by_shutdown, &listener);
    FAILS(accept(listener, NULL, NULL), EINVAL);
    pthread_join(thread, NULL);
    close(listener);
}

// --- Megabytes both ways ---

#define TOTAL (8 << 20)

static unsigned char byte_at(unsigned long position, int key) {
    return (unsigned char)((position * 2654435761UL + (unsigned long)key) >> 13);
}

struct end {
    int socket, key, peer_key;
};

static void *write_all(void *argument) {
    struct end *end = argument;
    static __thread unsigned char piece[40000];
    for (unsigned long done = 0; done < TOTAL;) {
        size_t size = 1 + done * 7 % sizeof(piece);
        size = size < TOTAL - done ? size : TOTAL - done;
        for (size_t i = 0; i < size; i++)
            piece[i] = byte_at(done + i, end->key);
        CHECK(send(end->socket, piece, size, 0), size); // waits until all is taken
        done += size;
    }
    CHECK(shutdown(end->socket, SHUT_WR), 0);
    return NULL;
}

static void *read_all(void *argument) {
    struct end *end = argument;
    static __thread unsigned char piece[30000];
    unsigned long done = 0;
    for (long got; (got = recv(end->socket, piece, sizeof(piece), 0)) != 0; done += (size_t)got) {
        CHECK(got > 0, 1);
        for (long i = 0; i < got; i++)
            if (piece[i] != byte_at(done + (unsigned long)i, end->peer_key))
                CHECK(done + (unsigned long)i, -1);
    }
    CHECK(done, TOTAL);
    return NULL;
}

static void both_ways(void) {
    struct end a = {.key = 1, .peer_key = 2}, b = {.key = 2, .peer_key = 1};
    pthread_t threads[4];
    pair(&a.socket, &b.socket);
    pthread_create(&threads[0], NULL, write_all, &a);
    pthread_create(&threads[1], NULL, write_all, &b);
    pthread_create(&threads[2], NULL, read_all, &a);
    pthread_create(&threads[3], NULL, read_all, &b);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    close(a.socket);
    close(b.socket);
}

// --- Many connections under epoll, edge-triggered ---

static void many(void) {
    enum { COUNT = 100 };
    int listener = listen_somewhere(), poll = epoll_create1(0), sockets[COUNT], served = 0;
    fcntl(listener, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event), 0);
    CHECK(listen(listener, COUNT), 0);
    for (int i = 0; i < COUNT; i++) {
        sockets[i] = call(listener, 0);
        CHECK(send(sockets[i], &i, sizeof(i), 0), sizeof(i));
    }
    while (served < COUNT) {
        struct epoll_event happened[16];
        int count = epoll_wait(poll, happened, 16, 5000);
        CHECK(count > 0, 1);
        for (int i = 0; i < count; i++) {
            int s = happened[i].data.fd, number;
            if (s == listener) {
                while ((s = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = s};
                    CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, s, &event), 0);
                }
                CHECK(errno, EAGAIN);
            } else if (recv(s, &number, sizeof(number), 0) == sizeof(number)) {
                number *= 3;
                CHECK(send(s, &number, sizeof(number), 0), sizeof(number));
                close(s);
                served++;
            }
        }
    }
    for (int i = 0; i < COUNT; i++) {
        int number = 0;
        CHECK(recv(sockets[i], &number, sizeof(number), MSG_WAITALL), sizeof(number));
        CHECK(number, 3 * i);
        CHECK(recv(sockets[i], &number, sizeof(number), 0), 0);
        close(sockets[i]);
    }
    close(poll);
    close(listener);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    names_and_ends();
    resets();
    connecting();
    ports();
    options();
    waiting_accept_is_woken();
    both_ways();
    many();
    puts("tcp_sockets: ok");
}
