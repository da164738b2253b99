// Clocks: monotonic, sleeping as long as asked, processor time; prints both clocks for the host.
#define _GNU_SOURCE
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static long long now(clockid_t clock) {
    struct timespec t;

    CHECK(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
    long long last = now(CLOCK_MONOTONIC);
    for (int i = 0; i < 20000; i++) {
        long long t = now(CLOCK_MONOTONIC);
        CHECK(t >= last);
        last = t;
    }
    for (int ms = 1; ms <= 64; ms *= 4) {
        struct timespec length = {0, ms * 1000000};
        long long before = now(CLOCK_MONOTONIC);
        CHECK(nanosleep(&length, NULL) == 0);
        CHECK(now(CLOCK_MONOTONIC) - before >= ms * 1000000LL);
    }
    struct timespec until = {.tv_nsec = 5000000};
    CHECK(clock_nanosleep(CLOCK_REALTIME, 0, &until, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &until);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == 0);

    long long used = now(CLOCK_PROCESS_CPUTIME_ID);
    usleep(20000);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - used < 15000000); // sleeping costs nothing
    volatile long sum = 0;
    for (long i = 0; i < 5000000; i++)
        sum += i;
    CHECK(now(CLOCK_THREAD_CPUTIME_ID) > 1000000);

    struct timeval tv;
    CHECK(gettimeofday(&tv, NULL) == 0 && tv.tv_sec >= time(NULL) - 1);
    // A line every 100 ms: the host compares the intervals with its own clock.
    for (int i = 0; i < 11; i++) {
        printf("tick %lld realtime %lld\n", now(CLOCK_MONOTONIC), now(CLOCK_REALTIME));
        fflush(stdout);
        usleep(100000);
    }
    puts("clocks: ok");
    return 0;
}
