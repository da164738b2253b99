// Pipes, eventfd, timerfd, poll, select and epoll between threads. Every check holds on Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../core/check.h"

#define STREAM (4 << 20)

static void *writer(void *argument) {
    static unsigned char piece[10007];
    for (size_t done = 0; done < STREAM;) {
        for (size_t i = 0; i < sizeof(piece); i++)
            piece[i] = (unsigned char)((done + i) * 31);
        size_t size = STREAM - done < sizeof(piece) ? STREAM - done : sizeof(piece);
        ssize_t put = write((int)(intptr_t)argument, piece, size);
        CHECK(put > 0);
        done += (size_t)put;
    }
    close((int)(intptr_t)argument);
    return NULL;
}

static void test_stream(void) {
    int ends[2];
    static unsigned char piece[4099];
    pthread_t thread;
    CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, writer, (void *)(intptr_t)ends[1]) == 0);
    size_t done = 0;
    for (ssize_t got; (got = read(ends[0], piece, sizeof(piece))) > 0;)
        for (ssize_t i = 0; i < got; i++, done++)
            CHECK(piece[i] == (unsigned char)(done * 31));
    CHECK(done == STREAM && pthread_join(thread, NULL) == 0 && close(ends[0]) == 0);
}

static volatile sig_atomic_t broken_pipes;
static void count_broken(int signal) {
    (void)signal;
    broken_pipes++;
}

static void test_broken(void) {
    int ends[2];
    struct sigaction action = {.sa_handler = count_broken};
    sigaction(SIGPIPE, &action, NULL);
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    CHECK(write(ends[1], "x", 1) < 0 && errno == EPIPE && broken_pipes == 1);
    struct pollfd poll_end = {ends[1], POLLOUT, 0};
    CHECK(poll(&poll_end, 1, 0) == 1 && poll_end.revents & POLLERR);
    CHECK(close(ends[1]) == 0);
}

static void interrupt(int signal) {
    (void)signal;
}

static void test_interrupted(void) {
    int ends[2];
    char c;
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGALRM, &action, NULL);
    CHECK(pipe(ends) == 0);
    ualarm(20000, 20000); // again and again: the first could come before the call
    CHECK(read(ends[0], &c, 1) < 0 && errno == EINTR);
    struct pollfd poll_end = {ends[0], POLLIN, 0};
    CHECK(poll(&poll_end, 1, -1) < 0 && errno == EINTR);
    ualarm(0, 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void *ping(void *argument) {
    int *fds = argument;
    uint64_t value;
    for (int i = 0; i < 2000; i++) {
        CHECK(read(fds[0], &value, 8) == 8);
        CHECK(write(fds[1], &value, 8) == 8);
    }
    return NULL;
}

static void test_eventfd(void) {
    int fds[2] = {eventfd(0, 0), eventfd(0, 0)};
    pthread_t thread;
    uint64_t value = 7;
    CHECK(pthread_create(&thread, NULL, ping, fds) == 0);
    for (int i = 0; i < 2000; i++)
        CHECK(write(fds[0], &value, 8) == 8 && read(fds[1], &value, 8) == 8 && value == 7);
    CHECK(pthread_join(thread, NULL) == 0);
    struct pollfd two[2] = {{fds[0], POLLIN | POLLOUT, 0}, {fds[1], POLLIN, 0}};
    CHECK(poll(two, 2, 0) == 1 && two[0].revents == POLLOUT);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(poll(two + 1, 1, 50) == 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 >= 49);
    close(fds[0]);
    close(fds[1]);
}

static void test_timerfd(void) {
    struct itimerspec every = {{0, 5000000}, {0, 5000000}};
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    uint64_t count, sum = 0;
    CHECK(fd >= 0 && timerfd_settime(fd, 0, &every, NULL) == 0);
    for (int i = 0; i < 4; i++, sum += count)
        CHECK(read(fd, &count, 8) == 8 && count >= 1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK(sum >= 4 && select(fd + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(fd, &set));
    close(fd);
}

static void test_epoll(void) {
    enum { PIPES = 50 };
    int epoll = epoll_create1(0), ends[PIPES][2];
    struct epoll_event events[PIPES];
    for (int i = 0; i < PIPES; i++) {
        struct epoll_event event = {.events = EPOLLIN | (i % 2 ? EPOLLET : 0),
                                    .data.u32 = (unsigned)i};
        CHECK(pipe(ends[i]) == 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i][0], &event) == 0);
    }
    CHECK(epoll_wait(epoll, events, PIPES, 0) == 0);
    for (int i = 0; i < PIPES; i++)
        CHECK(write(ends[i][1], "x", 1) == 1);
    CHECK(epoll_wait(epoll, events, PIPES, -1) == PIPES);
    CHECK(epoll_wait(epoll, events, PIPES, 0) == PIPES / 2); // the edge-triggered were told
    for (int i = 0; i < PIPES; i++)
        CHECK(close(ends[i][1]) == 0);
    int hung = epoll_wait(epoll, events, PIPES, -1);
    CHECK(hung == PIPES && events[0].events & EPOLLHUP);
    for (int i = 0; i < PIPES; i++)
        CHECK(close(ends[i][0]) == 0);
    CHECK(epoll_wait(epoll, events, PIPES, 0) == 0 && close(epoll) == 0);
}

static void *open_reader(void *argument) {
    return (void *)(intptr_t)open(argument, O_RDONLY);
}

static void test_fifo(char *directory) {
    char path[256], text[4] = {0};
    pthread_t thread;
    void *reader;
    snprintf(path, sizeof(path), "%s/fifo", directory);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK(open(path, O_WRONLY | O_NONBLOCK) < 0 && errno == ENXIO);
    CHECK(pthread_create(&thread, NULL, open_reader, path) == 0);
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && pthread_join(thread, &reader) == 0 && (intptr_t)reader >= 0);
    CHECK(write(fd, "hi", 2) == 2 && read((int)(intptr_t)reader, text, 4) == 2);
    CHECK(close(fd) == 0 && read((int)(intptr_t)reader, text, 4) == 0);
    CHECK(close((int)(intptr_t)reader) == 0 && unlink(path) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    test_stream();
    test_broken();
    test_interrupted();
    test_eventfd();
    test_timerfd();
    test_epoll();
    test_fifo(arguments[1]);
    puts("waiting: ok");
    return 0;
}
