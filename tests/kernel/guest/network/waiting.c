// Waiting for sockets: timeouts, signals, other threads that close or shut down, poll and epoll.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../core/check.h"

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static socklen_t name_of(struct sockaddr_un *out, const char *name) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    // Others on this machine may run the same program: such names belong to its whole network.
    int length = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "%s %d", name, getpid());
    return (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)length;
}

static int listener_at(const char *text, struct sockaddr_un *name, socklen_t *size) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    *size = name_of(name, text);
    CHECK(bind(fd, (void *)name, *size) == 0 && listen(fd, 0) == 0);
    return fd;
}

static void set_timeout(int fd, int option, long ms) {
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}, back;
    socklen_t size = sizeof(back);
    CHECK(setsockopt(fd, SOL_SOCKET, option, &time, sizeof(time)) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, option, &back, &size) == 0 && size == sizeof(back));
    CHECK(back.tv_sec == time.tv_sec && back.tv_usec / 10000 == time.tv_usec / 10000);
}

static void test_timeouts(void) {
    struct sockaddr_un name;
    socklen_t size;
    int ends[2], listener = listener_at("osvlab timeouts", &name, &size), clients[2];
    static char data[1 << 20];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    set_timeout(ends[0], SO_RCVTIMEO, 60);
    set_timeout(ends[0], SO_SNDTIMEO, 60);
    set_timeout(listener, SO_RCVTIMEO, 60);
    long start = milliseconds();
    CHECK(recv(ends[0], data, 1, 0) < 0 && errno == EAGAIN && milliseconds() - start >= 55);
    start = milliseconds();
    ssize_t sent = send(ends[0], data, sizeof(data), 0); // what went in, once the time is over
    CHECK(sent > 0 && sent < (ssize_t)sizeof(data) && milliseconds() - start >= 55);
    CHECK(send(ends[0], data, sizeof(data), 0) < 0 && errno == EAGAIN);
    start = milliseconds();
    CHECK(accept(listener, NULL, NULL) < 0 && errno == EAGAIN && milliseconds() - start >= 55);
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        set_timeout(clients[i], SO_SNDTIMEO, 60);
    }
    CHECK(connect(clients[0], (void *)&name, size) == 0);
    start = milliseconds();
    CHECK(connect(clients[1], (void *)&name, size) < 0 && errno == EAGAIN);
    CHECK(milliseconds() - start >= 55);
    CHECK(send(ends[1], "ab", 2, 0) == 2); // part of what was waited for
    CHECK(recv(ends[0], data, 10, MSG_WAITALL) == 2);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0 && close(listener) == 0);
    CHECK(close(clients[0]) == 0 && close(clients[1]) == 0);
}

// --- Signals ---

static volatile sig_atomic_t signals;
static int write_in_handler = -1;
static void count_signal(int signal) {
    (void)signal;
    if (++signals >= 2 && write_in_handler >= 0)
        CHECK(write(write_in_handler, "late", 4) == 4);
}

static void every_20_ms(bool restart) {
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = restart ? SA_RESTART : 0};
    struct itimerval timer = {{0, 20000}, {0, 20000}};
    signals = 0;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void no_more_signals(void) {
    struct itimerval none = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
    write_in_handler = -1;
}

static void test_signals(void) {
    int ends[2];
    char text[8];
    static char data[1 << 20];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    every_20_ms(false);
    CHECK(recv(ends[0], text, 8, 0) < 0 && errno == EINTR);
    ssize_t sent = send(ends[0], data, sizeof(data), 0); // a signal leaves what was sent
    CHECK(sent > 0 && sent < (ssize_t)sizeof(data));
    CHECK(send(ends[0], data, 1, 0) < 0 && errno == EINTR);
    every_20_ms(true);
    write_in_handler = ends[1];
    CHECK(recv(ends[0], text, 8, 0) >= 4); // begun again until the handler's bytes came
    no_more_signals();
    while (recv(ends[0], text, 8, MSG_DONTWAIT) > 0)
        continue;
    // With a timeout it is not begun again; nor is poll.
    set_timeout(ends[0], SO_RCVTIMEO, 5000);
    every_20_ms(true);
    CHECK(recv(ends[0], text, 8, 0) < 0 && errno == EINTR);
    struct pollfd poll_end = {ends[0], POLLIN, 0};
    CHECK(poll(&poll_end, 1, 5000) < 0 && errno == EINTR);
    CHECK(pause() < 0 && errno == EINTR);
    no_more_signals();
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

// --- Other threads ---

struct later {
    int fd, how;
};

static void *shut_down_later(void *argument) {
    struct later *later = argument;
    usleep(20000);
    CHECK(shutdown(later->fd, later->how) == 0);
    return NULL;
}

static void test_shutdown_wakes(void) {
    int ends[2];
    char c;
    static char data[1 << 20];
    pthread_t thread;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct later later = {ends[1], SHUT_WR};
    CHECK(pthread_create(&thread, NULL, shut_down_later, &later) == 0);
    CHECK(recv(ends[0], &c, 1, 0) == 0 && pthread_join(thread, NULL) == 0);
    later = (struct later){ends[1], SHUT_RD};
    CHECK(pthread_create(&thread, NULL, shut_down_later, &later) == 0);
    CHECK(send(ends[0], data, sizeof(data), MSG_NOSIGNAL) > 0 || errno == EPIPE); // what went in
    CHECK(send(ends[0], data, sizeof(data), MSG_NOSIGNAL) < 0 && errno == EPIPE);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);

    struct sockaddr_un name;
    socklen_t size;
    later = (struct later){listener_at("osvlab shutdown", &name, &size), SHUT_RDWR};
    CHECK(pthread_create(&thread, NULL, shut_down_later, &later) == 0);
    CHECK(accept(later.fd, NULL, NULL) < 0 && errno == EINVAL);
    CHECK(pthread_join(thread, NULL) == 0 && close(later.fd) == 0);
}

static void *receive_two(void *argument) {
    char text[2] = "";
    CHECK(recv((int)(intptr_t)argument, text, 2, MSG_WAITALL) == 2);
    return (void *)(intptr_t)text[1];
}

// Who waits in a call keeps the socket, though its descriptor is closed.
static void test_close_while_waiting(void) {
    int ends[2], unread = 1;
    pthread_t thread;
    void *result;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && write(ends[1], "o", 1) == 1);
    CHECK(pthread_create(&thread, NULL, receive_two, (void *)(intptr_t)ends[0]) == 0);
    while (unread > 0) { // once the first has been taken, the call waits for the second
        usleep(1000);
        CHECK(ioctl(ends[0], FIONREAD, &unread) == 0);
    }
    CHECK(close(ends[0]) == 0 && write(ends[1], "k", 1) == 1);
    CHECK(pthread_join(thread, &result) == 0 && (intptr_t)result == 'k');
    CHECK(close(ends[1]) == 0);
}

static void *accept_two(void *argument) {
    for (int i = 0; i < 2; i++) {
        usleep(20000);
        int fd = accept((int)(intptr_t)argument, NULL, NULL);
        CHECK(fd >= 0 && close(fd) == 0);
    }
    return NULL;
}

static void test_connect_waits(void) {
    struct sockaddr_un name;
    socklen_t size;
    pthread_t thread;
    int listener = listener_at("osvlab connect", &name, &size), clients[2];
    CHECK(pthread_create(&thread, NULL, accept_two, (void *)(intptr_t)listener) == 0);
    for (int i = 0; i < 2; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(clients[i], (void *)&name, size) == 0); // the second waits for an accept
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(close(clients[0]) == 0 && close(clients[1]) == 0 && close(listener) == 0);
}

// --- Readiness ---

static unsigned events_of(int epoll) {
    struct epoll_event event;
    int count = epoll_wait(epoll, &event, 1, 0);
    CHECK(count >= 0);
    return count == 0 ? 0 : event.events;
}

static void test_edges(void) {
    int ends[2], epoll = epoll_create1(0);
    char text[8];
    static char data[1 << 20];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    CHECK(events_of(epoll) == EPOLLOUT && events_of(epoll) == 0);
    CHECK(write(ends[1], "a", 1) == 1);
    CHECK(events_of(epoll) == (EPOLLIN | EPOLLOUT) && events_of(epoll) == 0);
    CHECK(write(ends[1], "b", 1) == 1); // new data is news, though the old was not read
    CHECK(events_of(epoll) == (EPOLLIN | EPOLLOUT));
    CHECK(read(ends[0], text, 8) == 2 && read(ends[0], text, 8) < 0);
    while (write(ends[0], data, sizeof(data)) > 0)
        continue;
    CHECK(errno == EAGAIN && events_of(epoll) == 0);
    while (read(ends[1], data, sizeof(data)) > 0)
        continue;
    CHECK(events_of(epoll) == EPOLLOUT && events_of(epoll) == 0);
    CHECK(shutdown(ends[1], SHUT_WR) == 0);
    CHECK(events_of(epoll) == (EPOLLIN | EPOLLOUT | EPOLLRDHUP) && events_of(epoll) == 0);
    CHECK(close(ends[1]) == 0);
    CHECK(events_of(epoll) == (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR) ||
          events_of(epoll) == 0);
    CHECK(close(ends[0]) == 0 && close(epoll) == 0);
}

// Many sockets, many threads, one epoll.
enum { PAIRS = 100, TURNS = 20 };
static int pairs[PAIRS][2];

static void *talk(void *argument) {
    unsigned seed = (unsigned)(intptr_t)argument;
    for (int i = 0; i < PAIRS * TURNS / 4; i++) {
        seed = seed * 1103515245 + 12345;
        CHECK(write(pairs[seed / 65536 % PAIRS][1], "x", 1) == 1);
    }
    return NULL;
}

static void test_many(void) {
    int epoll = epoll_create1(0), got = 0;
    pthread_t threads[4];
    for (int i = 0; i < PAIRS; i++) {
        struct epoll_event event = {.events = i % 2 ? EPOLLIN : EPOLLIN | EPOLLET,
                                    .data.u32 = (unsigned)i};
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[i]) == 0);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pairs[i][0], &event) == 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, talk, (void *)(intptr_t)(i + 1)) == 0);
    while (got < PAIRS * TURNS) {
        struct epoll_event events[16];
        char text[64];
        int count = epoll_wait(epoll, events, 16, 5000);
        CHECK(count > 0);
        for (int i = 0; i < count; i++)
            for (ssize_t n; (n = read(pairs[events[i].data.u32][0], text, 64)) > 0;)
                got += (int)n;
    }
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < PAIRS; i++)
        CHECK(close(pairs[i][0]) == 0 && close(pairs[i][1]) == 0);
    CHECK(close(epoll) == 0);
}

static void test_sendfile(const char *directory) {
    char path[256], text[64] = {0};
    int ends[2];
    off_t offset = 2;
    snprintf(path, sizeof(path), "%s/sendfile", directory);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(sendfile(ends[0], fd, &offset, 100) == 8 && offset == 10);
    CHECK(read(ends[1], text, 64) == 8 && strcmp(text, "23456789") == 0);
    CHECK(close(fd) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0 && unlink(path) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    test_timeouts();
    test_signals();
    test_shutdown_wakes();
    test_close_while_waiting();
    test_connect_waits();
    test_edges();
    test_many();
    test_sendfile(arguments[1]);
    puts("waiting: ok");
    return 0;
}
