// What elementary operations cost, in cycles of the time stamp counter: one program for both systems.
//
// Prints "<name> <cycles>" lines. Each figure is the best of several rounds, as everything that disturbs
// only adds. The work is kept small, so that a round fits between two disturbances.
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { ROUNDS = 9 };

static void *nothing(void *argument) {
    return argument;
}

static void thread_create_and_join(int times) {
    for (int i = 0; i < times; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) != 0)
            exit(EXIT_FAILURE);
        pthread_join(thread, NULL);
    }
}

// Two threads pass a token through two pipes: each round trip is two context switches.
struct ring {
    int there[2], back[2];
    int times;
};

static void *answer(void *argument) {
    struct ring *ring = argument;
    char token;
    for (int i = 0; i < ring->times; i++)
        if (read(ring->there[0], &token, 1) != 1 || write(ring->back[1], &token, 1) != 1)
            exit(EXIT_FAILURE);
    return NULL;
}

static void switch_through_pipes(int times) {
    struct ring ring = {.times = times / 2};
    pthread_t thread;
    char token = 'x';
    if (pipe(ring.there) < 0 || pipe(ring.back) < 0 ||
        pthread_create(&thread, NULL, answer, &ring) != 0)
        exit(EXIT_FAILURE);
    for (int i = 0; i < ring.times; i++)
        if (write(ring.there[1], &token, 1) != 1 || read(ring.back[0], &token, 1) != 1)
            exit(EXIT_FAILURE);
    pthread_join(thread, NULL);
    close(ring.there[0]), close(ring.there[1]), close(ring.back[0]), close(ring.back[1]);
}

// Two threads take turns: whose turn it is stands in `turn`, and who waits sleeps on it.
static _Atomic int turn;

static void take_turns(int mine, int times) {
    for (int i = 0; i < times; i++) {
        while (atomic_load(&turn) != mine)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
        atomic_store(&turn, !mine);
        syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *other(void *times) {
    take_turns(1, *(int *)times);
    return NULL;
}

static void switch_by_futex(int times) {
    int each = times / 2;
    pthread_t thread;
    atomic_store(&turn, 0);
    if (pthread_create(&thread, NULL, other, &each) != 0)
        exit(EXIT_FAILURE);
    take_turns(0, each);
    pthread_join(thread, NULL);
}

static void system_call(int times) {
    for (int i = 0; i < times; i++) {
        long ignored;
        __asm__ volatile("syscall" : "=a"(ignored) : "a"(SYS_getppid) : "rcx", "r11", "memory");
    }
}

// Calls of libc: one that computes, one that may ask the kernel, one that must, one with state.
static volatile size_t total;

static void libc_strlen(int times) {
    static const char *volatile text = "how long is this string, again and again?";
    for (int i = 0; i < times; i++)
        total += strlen(text);
}

static void libc_clock(int times) {
    struct timespec now;
    for (int i = 0; i < times; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        total += (size_t)now.tv_nsec;
    }
}

static void libc_getppid(int times) {
    for (int i = 0; i < times; i++)
        total += (size_t)getppid();
}

// A program has blocks of several sizes at a time, and frees what it took a while ago.
static void libc_malloc(int times) {
    static void *blocks[32];
    for (int i = 0; i < times; i++) {
        void **oldest = &blocks[i % 32];
        free(*oldest);
        *oldest = malloc((size_t)(16 + i * 40 % 512));
    }
    for (int i = 0; i < 32; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void measure(const char *name, void (*work)(int times), int times) {
    uint64_t best = UINT64_MAX;
    work(times / 10); // what happens once, such as translating the code, is not what is asked for
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = __rdtsc();
        work(times);
        uint64_t taken = __rdtsc() - began;
        if (taken < best)
            best = taken;
    }
    printf("%s %.1f\n", name, (double)best / times);
    fflush(stdout);
}

int main(void) {
    measure("thread", thread_create_and_join, 100);
    measure("pipe", switch_through_pipes, 1000);
    measure("futex", switch_by_futex, 1000);
    measure("syscall", system_call, 5000);
    measure("strlen", libc_strlen, 20000);
    measure("clock", libc_clock, 5000);
    measure("getppid", libc_getppid, 5000);
    measure("malloc", libc_malloc, 20000);
    puts("done");
    return 0;
}
