// Clocks: monotonic, sleeping as long as asked, processor time; prints both clocks for the host.
// "set" sets the wall clock (not for the host), "wall" prints it.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static long long now(clockid_t clock) {
    struct timespec t;

    CHECK(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long asked(clockid_t clock) {
    struct timespec t;

    CHECK(syscall(SYS_clock_gettime, clock, &t) == 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// What libc computes lies between what it computed before and after the kernel was asked.
static void libc_and_kernel_agree(void) {
    static const clockid_t exact[] = {
        CLOCK_REALTIME, CLOCK_MONOTONIC,          CLOCK_MONOTONIC_RAW,    CLOCK_BOOTTIME,
        CLOCK_TAI,      CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    static const clockid_t coarse[] = {CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE};

    for (int i = 0; i < 1000; i++) {
        for (unsigned c = 0; c < sizeof(exact) / sizeof(*exact); c++) {
            long long before = now(exact[c]), between = asked(exact[c]), after = now(exact[c]);
            CHECK(before <= between && between <= after);
            CHECK(asked(exact[c]) >= after);
        }
        for (unsigned c = 0; c < sizeof(coarse) / sizeof(*coarse); c++) {
            long long before = now(coarse[c]), after = asked(coarse[c]);
            CHECK(before <= after && after - before < 1000000000);
        }
    }
    struct timespec t;
    errno = 0;
    CHECK(clock_gettime(99, &t) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(clock_gettime(32 + CLOCK_MONOTONIC, &t) == -1 && errno == EINVAL);
    long long seconds = time(NULL);
    CHECK(clock_gettime(CLOCK_REALTIME, &t) == 0 && t.tv_sec >= seconds && t.tv_sec <= seconds + 1);
}

// Time that one thread has seen is past for all others.
static _Atomic long long latest;

static void *never_before_the_latest(void *unused) {
    for (int i = 0; i < 50000; i++) {
        long long seen = atomic_load(&latest);
        long long t = i % 16 ? now(CLOCK_MONOTONIC) : asked(CLOCK_MONOTONIC);
        CHECK(t >= seen);
        while (seen < t && !atomic_compare_exchange_weak(&latest, &seen, t))
            ;
        if (i % 1000 == 0)
            usleep(100);
    }
    return unused;
}

static void threads_agree(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, never_before_the_latest, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void set_wall_clock(void) {
    struct timespec to = {.tv_sec = 1000000000, .tv_nsec = 500};
    long long monotonic = now(CLOCK_MONOTONIC);
    CHECK(clock_settime(CLOCK_REALTIME, &to) == 0);
    CHECK(now(CLOCK_REALTIME) - 1000000000000000500LL < 1000000000);
    CHECK(now(CLOCK_REALTIME) >= 1000000000000000500LL);
    CHECK(now(CLOCK_MONOTONIC) >= monotonic && now(CLOCK_MONOTONIC) - monotonic < 1000000000);
    libc_and_kernel_agree();
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "set"))
        set_wall_clock();
    if (argc > 1) {
        printf("wall %lld\n", now(CLOCK_REALTIME));
        return 0;
    }
    libc_and_kernel_agree();
    threads_agree();
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
    clockid_t mine, everybodys;
    CHECK(pthread_getcpuclockid(pthread_self(), &mine) == 0 && now(mine) > 1000000);
    CHECK(clock_getcpuclockid(0, &everybodys) == 0 && now(everybodys) >= now(mine) - 10000000);
    CHECK(now(mine) <= now(CLOCK_THREAD_CPUTIME_ID));

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
