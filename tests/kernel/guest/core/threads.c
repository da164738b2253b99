// Threads: creation, joining, mutexes, conditions, preemption, thousands of them, no leak.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long counter;
static volatile int stop;

static void *count(void *times) {
    for (long i = 0; i < (long)times; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return times;
}

static void counting(void) {
    pthread_t t[8];

    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&t[i], NULL, count, (void *)20000L) == 0);
    for (int i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(t[i], &result) == 0 && result == (void *)20000L);
    }
    CHECK(counter == 160000);
}

static void *spin(void *unused) {
    while (!stop)
        ; // never sleeps: only preemption lets anybody else run
    return unused;
}

static void preemption(void) {
    pthread_t t;

    CHECK(pthread_create(&t, NULL, spin, NULL) == 0);
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    stop = 1;
    CHECK(pthread_join(t, NULL) == 0);
}

static int turn;
static void *ping(void *me) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&lock);
        while (turn != (int)(long)me)
            pthread_cond_wait(&changed, &lock);
        turn = !turn;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void conditions(void) {
    pthread_t a, b;

    CHECK(pthread_create(&a, NULL, ping, (void *)0L) == 0);
    CHECK(pthread_create(&b, NULL, ping, (void *)1L) == 0);
    pthread_join(a, NULL);
    pthread_join(b, NULL);

    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 10000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_nsec -= 1000000000;
        deadline.tv_sec++;
    }
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&changed, &lock, &deadline) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);
}

static __thread int mine = 42;
static void *own_value(void *address) {
    CHECK(mine == 42 && &mine != address);
    mine = 7;
    return NULL;
}

static pthread_key_t key;
static int destroyed;
static void destroy(void *value) {
    destroyed += (int)(long)value;
}
static void *specific(void *unused) {
    pthread_setspecific(key, (void *)5L);
    return unused;
}

static void locals(void) {
    pthread_t t;

    mine = 1;
    pthread_create(&t, NULL, own_value, &mine);
    pthread_join(t, NULL);
    CHECK(mine == 1);
    CHECK(pthread_key_create(&key, destroy) == 0);
    pthread_create(&t, NULL, specific, NULL);
    pthread_join(t, NULL);
    CHECK(destroyed == 5);
}

static void *cancelled(void *unused) {
    for (;;)
        pause();
    return unused;
}

static void cancellation(void) {
    pthread_t t;
    void *result;

    pthread_create(&t, NULL, cancelled, NULL);
    usleep(5000);
    CHECK(pthread_cancel(t) == 0);
    CHECK(pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
}

static void *nothing(void *value) {
    return value;
}

static unsigned long free_memory(void) {
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0);
    return info.freeram;
}

static void ten_thousand(void) {
    pthread_t t;

    for (int i = 0; i < 100; i++) { // first uses may keep something
        CHECK(pthread_create(&t, NULL, nothing, NULL) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    unsigned long before = free_memory();
    for (int i = 0; i < 10000; i++) {
        CHECK(pthread_create(&t, NULL, nothing, NULL) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    unsigned long after = free_memory();
    printf("free before %lu after %lu\n", before, after);
    if (getpid() == 2) // in the guest nobody else uses memory
        CHECK(after >= before);
}

static sem_t many_done;
static void *post(void *unused) {
    sem_post(&many_done);
    return unused;
}

static void many_at_once(void) {
    enum { MANY = 200 };
    pthread_t t[MANY];

    CHECK(sem_init(&many_done, 0, 0) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_create(&t[i], NULL, post, NULL) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(sem_wait(&many_done) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

// A system call changes no register but RAX, RCX and R11, also when another thread has its turn
// on the way in or out.
static void *keep_registers(void *seed) {
    enum { CARRY_ZERO_SIGN_OVERFLOW = 0x8c1, ALWAYS = 0x202 };
    struct timespec start, now;
    unsigned long x = (unsigned long)seed;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 1000; i++) {
            x = x * 6364136223846793005UL + 1442695040888963407UL;
            unsigned long result, old = (x >> 40 & CARRY_ZERO_SIGN_OVERFLOW) | ALWAYS, flags = old;
            unsigned long rbx = x, rdx = ~x;
            register unsigned long rsi __asm__("rsi") = x + 1, rdi __asm__("rdi") = x + 2;
            register unsigned long r8 __asm__("r8") = x + 3, r9 __asm__("r9") = x + 4;
            register unsigned long r10 __asm__("r10") = x + 5, r12 __asm__("r12") = x + 6;
            __asm__ volatile("lea -128(%%rsp), %%rsp\n"
                             "push %[flags]\n"
                             "popf\n"
                             "syscall\n"
                             "pushf\n"
                             "pop %[flags]\n"
                             "lea 128(%%rsp), %%rsp"
                             : [flags] "+r"(flags), "=a"(result), "+b"(rbx), "+d"(rdx), "+r"(rsi),
                               "+r"(rdi), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12)
                             : "1"(SYS_getppid)
                             : "rcx", "r11", "memory");
            unsigned long wrong = (rbx ^ x) | (rdx ^ ~x) | (rsi - x - 1) | (rdi - x - 2) |
                                  (r8 - x - 3) | (r9 - x - 4) | (r10 - x - 5) | (r12 - x - 6);
            CHECK(!wrong);
            CHECK((flags & (CARRY_ZERO_SIGN_OVERFLOW | ALWAYS)) == old);
            CHECK((long)result >= 0);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec * 1000 + now.tv_nsec / 1000000 <
             start.tv_sec * 1000 + start.tv_nsec / 1000000 + 300);
    return NULL;
}

static void registers(void) {
    pthread_t t[4];

    for (long i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, keep_registers, (void *)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

int main(void) {
    counting();
    registers();
    preemption();
    conditions();
    locals();
    cancellation();
    many_at_once();
    ten_thousand();
    puts("threads: ok");
    return 0;
}
