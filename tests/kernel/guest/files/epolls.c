// epoll in depth: edges, nesting, many files, closing; and what of pipes only threads can show.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../core/check.h"

static struct epoll_event got[64];

static int now(int epoll) {
    return epoll_wait(epoll, got, 64, 0);
}

static int watch(int epoll, int operation, int file, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = file};
    return epoll_ctl(epoll, operation, file, &event);
}

// An edge is an event that was asked for: reading makes a counter writable, which is another one.
static void edges(void) {
    int epoll = epoll_create1(0), counter = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    uint64_t value;

    CHECK(watch(epoll, EPOLL_CTL_ADD, counter, EPOLLIN | EPOLLET) == 0);
    CHECK(now(epoll) == 1 && got[0].events == EPOLLIN && now(epoll) == 0);
    CHECK(read(counter, &value, 8) == 8 && value == 1 && now(epoll) == 0);
    CHECK(watch(epoll, EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLOUT | EPOLLET) == 0);
    CHECK(now(epoll) == 1 && got[0].events == (EPOLLIN | EPOLLOUT));
    CHECK(read(counter, &value, 8) == 8 && now(epoll) == 1);
    CHECK(watch(epoll, EPOLL_CTL_MOD, counter, EPOLLIN | EPOLLONESHOT) == 0);
    CHECK(now(epoll) == 1 && now(epoll) == 0 && eventfd_write(counter, 1) == 0 && now(epoll) == 0);
    CHECK(watch(epoll, EPOLL_CTL_MOD, counter, 0) == 0 && now(epoll) == 0);
    CHECK(close(counter) == 0 && watch(epoll, EPOLL_CTL_DEL, counter, 0) == -1 && errno == EBADF);

    int ends[2]; // without an event asked for, the end is told
    CHECK(pipe(ends) == 0 && watch(epoll, EPOLL_CTL_ADD, ends[0], 0) == 0 && now(epoll) == 0);
    CHECK(close(ends[1]) == 0 && now(epoll) == 1 && got[0].events == EPOLLHUP);
    int twin = dup(ends[0]); // closed, but still open by another number
    CHECK(close(ends[0]) == 0 && now(epoll) == 1 && close(twin) == 0 && now(epoll) == 0);

    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    CHECK(watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN | EPOLLET) == 0 && now(epoll) == 0);
    CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0 && epoll_wait(epoll, got, 64, -1) == 1);
    CHECK(now(epoll) == 0 && close(timer) == 0 && close(epoll) == 0);
}

// Epolls that watch epolls: from either end the chain has its limit, and an event goes through.
static void nesting(void) {
    int chain[12], ends[2], length = 1;

    for (int i = 0; i < 12; i++)
        chain[i] = epoll_create1(0);
    while (length < 12 && watch(chain[length - 1], EPOLL_CTL_ADD, chain[length], EPOLLIN) == 0)
        length++; // downwards
    CHECK(length >= 4 && length < 12 && errno == ELOOP);
    CHECK(watch(chain[length - 1], EPOLL_CTL_ADD, chain[0], EPOLLIN) == -1 && errno == ELOOP);
    for (int i = 0; i < 12; i++) {
        close(chain[i]);
        chain[i] = epoll_create1(0);
    }
    length = 1;
    while (length < 12 && watch(chain[length], EPOLL_CTL_ADD, chain[length - 1], EPOLLIN) == 0)
        length++; // upwards
    CHECK(length >= 4 && length < 12 && errno == ELOOP);

    struct pollfd poll_top = {chain[3], POLLIN, 0};
    char c;
    CHECK(pipe(ends) == 0 && watch(chain[0], EPOLL_CTL_ADD, ends[0], EPOLLIN) == 0);
    CHECK(poll(&poll_top, 1, 0) == 0 && write(ends[1], "x", 1) == 1);
    CHECK(poll(&poll_top, 1, -1) == 1 && now(chain[3]) == 1 && now(chain[0]) == 1);
    CHECK(read(ends[0], &c, 1) == 1 && now(chain[3]) == 0 && poll(&poll_top, 1, 0) == 0);
    for (int i = 0; i < 12; i++)
        close(chain[i]);
    close(ends[0]), close(ends[1]);
}

#define PIPES 100
#define ROUNDS 2000
static int pipes[PIPES][2], many;

static void *feed(void *argument) {
    unsigned seed = (unsigned)(intptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(write(pipes[rand_r(&seed) % PIPES][1], "y", 1) == 1);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

// Edges from two threads are not lost, whenever they come: all that was written is read.
static void many_pipes(unsigned events) {
    pthread_t threads[2];
    int total = 0;

    many = epoll_create1(0);
    for (int i = 0; i < PIPES; i++) {
        CHECK(pipe2(pipes[i], O_NONBLOCK) == 0);
        CHECK(watch(many, EPOLL_CTL_ADD, pipes[i][0], events) == 0);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, feed, (void *)(intptr_t)(i + 1)) == 0);
    while (total < 2 * ROUNDS) {
        int count = epoll_wait(many, got, 64, 10000);
        CHECK(count > 0);
        for (int i = 0; i < count; i++) {
            char data[4096];
            for (ssize_t n; (n = read(got[i].data.fd, data, sizeof(data))) > 0;)
                total += (int)n;
            if (events & EPOLLONESHOT)
                CHECK(watch(many, EPOLL_CTL_MOD, got[i].data.fd, events) == 0);
        }
    }
    CHECK(now(many) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PIPES; i++)
        close(pipes[i][0]), close(pipes[i][1]);
    close(many);
}

static void *write_end(void *end) {
    return (void *)(intptr_t)write(*(int *)end, "z", 1);
}

static void *wait_for_any(void *epoll) {
    return (void *)(intptr_t)epoll_wait(*(int *)epoll, got, 1, 20);
}

// Who waits for a file does not keep it open: its last close is one.
static void closing(void) {
    int ends[2], epoll = epoll_create1(0);
    pthread_t waiter, writer;
    void *result;

    signal(SIGPIPE, SIG_IGN);
    CHECK(pipe(ends) == 0 && watch(epoll, EPOLL_CTL_ADD, ends[0], EPOLLIN) == 0);
    CHECK(pthread_create(&waiter, NULL, wait_for_any, &epoll) == 0);
    usleep(2000);
    close(ends[0]);
    CHECK(pthread_create(&writer, NULL, write_end, &ends[1]) == 0);
    CHECK(pthread_join(writer, &result) == 0 && (intptr_t)result == -1);
    CHECK(pthread_join(waiter, &result) == 0 && (intptr_t)result == 0);
    close(ends[1]), close(epoll);
}

#define LINES 500
static void *write_lines(void *argument) {
    char letter = (char)(intptr_t)argument, text[40];
    memset(text, letter, sizeof(text));
    struct iovec pieces[] = {{text, 10}, {text, 0}, {text, 29}, {"\n", 1}};
    for (int i = 0; i < LINES; i++)
        CHECK(writev(pipes[0][1], pieces, 4) == 40);
    return NULL;
}

// The pieces of a vector go into a pipe together (PIPE_BUF), and come out into pieces.
static void vectors(void) {
    pthread_t threads[3];
    char line[40], rest[50];

    CHECK(pipe(pipes[0]) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, write_lines, (void *)(intptr_t)('a' + i)) == 0);
    for (int i = 0; i < 3 * LINES; i++) {
        struct iovec pieces[] = {{line, 15}, {line + 15, 25}};
        CHECK(readv(pipes[0][0], pieces, 2) == 40 && line[39] == '\n');
        for (int k = 1; k < 39; k++)
            CHECK(line[k] == line[0]);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    struct iovec pieces[] = {{line, 3}, {rest, 50}};
    CHECK(write(pipes[0][1], "short", 5) == 5 && readv(pipes[0][0], pieces, 2) == 5);
    CHECK(memcmp(line, "sho", 3) == 0 && memcmp(rest, "rt", 2) == 0);
    pieces[1].iov_base = (void *)8;
    CHECK(writev(pipes[0][1], pieces, 2) <= 3);
    close(pipes[0][0]), close(pipes[0][1]);
}

// A lower limit holds for what is opened, not for what is open.
static void limits(void) {
    struct rlimit old, low;
    int high = fcntl(0, F_DUPFD, 100);

    CHECK(high >= 100 && getrlimit(RLIMIT_NOFILE, &old) == 0);
    low = (struct rlimit){50, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    CHECK(dup2(0, 60) == -1 && errno == EBADF);
    CHECK(fcntl(high, F_GETFD) == 0 && close(high) == 0 && close(high) == -1 && errno == EBADF);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
}

int main(void) {
    edges();
    nesting();
    many_pipes(EPOLLIN);
    many_pipes(EPOLLIN | EPOLLET);
    many_pipes(EPOLLIN | EPOLLONESHOT);
    closing();
    vectors();
    limits();
    printf("epolls: ok\n");
    return 0;
}
