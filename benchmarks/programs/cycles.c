// What elementary operations cost, in cycles of the time stamp counter: one program for both systems.
//
// Prints "<name> <cycles>" lines. Each figure is the best of several rounds, as everything that disturbs only adds.
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

enum { ROUNDS = 7 };

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

static void context_switch(int times) {
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

static void system_call(int times) {
    for (int i = 0; i < times; i++) {
        long ignored;
        __asm__ volatile("syscall" : "=a"(ignored) : "a"(SYS_getppid) : "rcx", "r11", "memory");
    }
}

static void libc_call(int times) {
    static volatile size_t total;
    static const char *volatile text = "how long is this string, again and again?";
    for (int i = 0; i < times; i++)
        total += strlen(text);
}

static void measure(const char *name, void (*work)(int times), int times) {
    uint64_t best = UINT64_MAX;
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
    measure("thread", thread_create_and_join, 200);
    measure("switch", context_switch, 1000);
    measure("syscall", system_call, 2000);
    measure("libc", libc_call, 20000);
    puts("done");
    return 0;
}
