// The futex call itself: waking, requeueing, timeouts, what is refused, what a dead thread leaves.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static _Atomic int word, other, asleep, awake;

static long futex(_Atomic int *address, int operation, int value, const void *timeout,
                  _Atomic int *second, int third) {
    return syscall(SYS_futex, address, operation, value, timeout, second, third);
}

static void *sleeper(void *unused) {
    (void)unused;
    asleep++;
    while (futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0) == -1 && errno == EINTR)
        ;
    awake++;
    return NULL;
}

static void start(pthread_t *threads, int count) {
    asleep = awake = word = other = 0;
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, sleeper, NULL) == 0);
    // Requeueing a word to itself moves nobody, but tells how many are there.
    while (futex(&word, FUTEX_CMP_REQUEUE, 0, (void *)100, &word, 0) < count)
        sched_yield();
}

static void requeueing(void) {
    pthread_t threads[4];

    start(threads, 4);
    CHECK(awake == 0);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 1) == -1 && errno == EAGAIN);
    CHECK(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)0, &other, 0) == 1); // wakes, moves nobody
    CHECK(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 0) == 2);
    CHECK(futex(&other, FUTEX_WAKE, 100, NULL, NULL, 0) == 1);
    CHECK(futex(&word, FUTEX_WAKE, 100, NULL, NULL, 0) == 1);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(awake == 4);
    CHECK(futex(&word, FUTEX_REQUEUE, -1, (void *)1, &other, 0) == -1 && errno == EINVAL);
}

static void refusals(void) {
    struct timespec wrong = {0, 1000000000};
    CHECK(futex((void *)((char *)&word + 1), FUTEX_WAIT, 0, NULL, NULL, 0) == -1 &&
          errno == EINVAL);
    CHECK(futex((void *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0) == -1 &&
          errno == EINVAL);
    CHECK(futex((void *)16, FUTEX_WAIT, 0, NULL, NULL, 0) == -1 && errno == EFAULT);
    CHECK(futex(&word, FUTEX_WAIT, 5, NULL, NULL, 0) == -1 && errno == EAGAIN);
    CHECK(futex(&word, FUTEX_WAIT, 0, &wrong, NULL, 0) == -1 && errno == EINVAL);
    CHECK(futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0) == -1 && errno == EINVAL);
    CHECK(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0) == -1 && errno == EINVAL);
    CHECK(futex(&word, 77, 0, NULL, NULL, 0) == -1 && errno == ENOSYS);
}

static long elapsed(const struct timespec *since) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000000000 + now.tv_nsec - since->tv_nsec;
}

static void timeouts(void) {
    struct timespec start, time = {0, 20000000}, past = {1, 0};
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK(futex(&word, FUTEX_WAIT, 0, &time, NULL, 0) == -1 && errno == ETIMEDOUT);
    CHECK(elapsed(&start) >= 20000000);
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec++;
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &time, NULL, -1) == -1 &&
          errno == ETIMEDOUT && elapsed(&start) >= 900000000);
    CHECK(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past, NULL, -1) == -1 &&
          errno == ETIMEDOUT);
}

// A thread ends while it is about to take a robust mutex: only list_op_pending names it.
static struct {
    struct robust_list_head head;
    _Atomic int word;
} robust;

static void *die_with_pending(void *unused) {
    (void)unused;
    robust.head.list.next = &robust.head.list;
    robust.head.futex_offset = (char *)&robust.word - (char *)&robust.head;
    robust.head.list_op_pending = &robust.head.list;
    CHECK(syscall(SYS_set_robust_list, &robust.head, sizeof(robust.head)) == 0);
    robust.word = (int)syscall(SYS_gettid) | (int)FUTEX_WAITERS;
    syscall(SYS_exit, 0);
    return NULL;
}

static void dead_owner(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, die_with_pending, NULL) == 0);
    for (int value; !((value = robust.word) & (int)FUTEX_OWNER_DIED);)
        sched_yield();
    CHECK((robust.word & FUTEX_TID_MASK) == 0 && robust.word & (int)FUTEX_WAITERS);
}

int main(void) {
    requeueing();
    refusals();
    timeouts();
    dead_owner();
    printf("futexes: ok\n");
    return 0;
}
