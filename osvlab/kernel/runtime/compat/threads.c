// Threads: glibc's additions, and its static initialisers of recursive mutexes.
//
// glibc keeps a mutex's kind 16 bytes into it, where PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP
// (and so std::recursive_mutex) puts it; musl keeps it in the first word, which such an
// initialiser leaves 0. The word at 16 is unused in musl (1.2.x, src/internal/pthread_impl.h).

#include "compat.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../linker/linker.h"

HIDDEN int __pthread_mutex_lock(pthread_mutex_t *mutex);
HIDDEN int __pthread_mutex_trylock(pthread_mutex_t *mutex);
HIDDEN int __pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                                     const struct timespec *restrict deadline);

// Single-threaded programs may skip locks; nobody is told that they are.
EXPORT char __libc_single_threaded = 0;

static inline void adopt_kind(pthread_mutex_t *mutex) {
    int *words = (int *)mutex;
    if (words[4] && !words[0] && words[4] <= PTHREAD_MUTEX_ERRORCHECK)
        words[0] = words[4];
}

EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex) {
    adopt_kind(mutex);
    return __pthread_mutex_lock(mutex);
}

EXPORT int pthread_mutex_trylock(pthread_mutex_t *mutex) {
    adopt_kind(mutex);
    return __pthread_mutex_trylock(mutex);
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                                   const struct timespec *restrict deadline) {
    adopt_kind(mutex);
    return __pthread_mutex_timedlock(mutex, deadline);
}

// A deadline on one clock as a deadline on another.
static struct timespec on_clock(clockid_t to, clockid_t from, const struct timespec *deadline) {
    struct timespec now_to, now_from;
    if (to == from)
        return *deadline;
    clock_gettime(to, &now_to);
    clock_gettime(from, &now_from);
    time_t seconds = deadline->tv_sec - now_from.tv_sec + now_to.tv_sec;
    long nanoseconds = deadline->tv_nsec - now_from.tv_nsec + now_to.tv_nsec;
    if (nanoseconds < 0)
        nanoseconds += 1000000000, seconds--;
    else if (nanoseconds >= 1000000000)
        nanoseconds -= 1000000000, seconds++;
    return (struct timespec){.tv_sec = seconds, .tv_nsec = nanoseconds};
}

static bool good_deadline(clockid_t clock, const struct timespec *deadline) {
    return (clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC) && deadline->tv_nsec >= 0 &&
           deadline->tv_nsec < 1000000000;
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  clockid_t clock, const struct timespec *deadline) {
    if (!good_deadline(clock, deadline))
        return EINVAL;
    int own_clock = ((const int *)condition)[4]; // musl keeps the condition's clock there
    struct timespec until = on_clock(own_clock, clock, deadline);
    return pthread_cond_timedwait(condition, mutex, &until);
}

EXPORT int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                                   const struct timespec *deadline) {
    if (!good_deadline(clock, deadline))
        return EINVAL;
    struct timespec until = on_clock(CLOCK_REALTIME, clock, deadline);
    return pthread_mutex_timedlock(mutex, &until);
}

EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t clock,
                                      const struct timespec *deadline) {
    if (!good_deadline(clock, deadline))
        return EINVAL;
    struct timespec until = on_clock(CLOCK_REALTIME, clock, deadline);
    return pthread_rwlock_timedrdlock(lock, &until);
}

EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t clock,
                                      const struct timespec *deadline) {
    if (!good_deadline(clock, deadline))
        return EINVAL;
    struct timespec until = on_clock(CLOCK_REALTIME, clock, deadline);
    return pthread_rwlock_timedwrlock(lock, &until);
}

EXPORT int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock,
                                const struct timespec *deadline) {
    if (!deadline)
        return pthread_join(thread, result);
    if (!good_deadline(clock, deadline))
        return EINVAL;
    struct timespec until = on_clock(CLOCK_REALTIME, clock, deadline);
    return pthread_timedjoin_np(thread, result, &until);
}

EXPORT int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *deadline) {
    if (!good_deadline(clock, deadline)) {
        errno = EINVAL;
        return -1;
    }
    struct timespec until = on_clock(CLOCK_REALTIME, clock, deadline);
    return sem_timedwait(semaphore, &until);
}

// Where a thread's stack is. musl finds the first thread's by trial; here it is known.
EXPORT int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    const struct musl_thread *t = (const void *)thread;
    pthread_attr_init(attributes);
    pthread_attr_setdetachstate(attributes,
                                t->detach_state == 3 /* DT_DETACHED */ ? PTHREAD_CREATE_DETACHED
                                                                       : PTHREAD_CREATE_JOINABLE);
    if (t == tls_first_thread) {
        const struct launch *launch = application.launch;
        pthread_attr_setguardsize(attributes, PAGE_SIZE);
        return pthread_attr_setstack(attributes, (char *)launch->stack + PAGE_SIZE,
                                     launch->stack_size - PAGE_SIZE);
    }
    pthread_attr_setguardsize(attributes, t->guard_size);
    return pthread_attr_setstack(attributes, (char *)t->stack - t->stack_size, t->stack_size);
}

// Affinity of threads to come: accepted where it asks for nothing special.
EXPORT int pthread_attr_setaffinity_np(pthread_attr_t *attributes, size_t size,
                                       const cpu_set_t *set) {
    (void)attributes, (void)size, (void)set;
    return 0;
}

EXPORT int pthread_attr_getaffinity_np(const pthread_attr_t *attributes, size_t size,
                                       cpu_set_t *set) {
    (void)attributes;
    memset(set, 0xff, size);
    return 0;
}

EXPORT int pthread_rwlockattr_setkind_np(pthread_rwlockattr_t *attributes, int kind) {
    (void)attributes;
    return kind < 0 || kind > 2 ? EINVAL : 0;
}

EXPORT int pthread_rwlockattr_getkind_np(const pthread_rwlockattr_t *attributes, int *kind) {
    (void)attributes;
    *kind = 0; // readers first
    return 0;
}

EXPORT int pthread_yield(void) {
    return sched_yield();
}

EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                             void *library) {
    (void)library; // objects are never unloaded
    return pthread_atfork(prepare, parent, child);
}

EXPORT cpu_set_t *__sched_cpualloc(size_t count) {
    return calloc((count + 63) / 64, 8);
}

EXPORT void __sched_cpufree(cpu_set_t *set) {
    free(set);
}

EXPORT int tgkill(pid_t process, pid_t thread, int signal) {
    return (int)syscall(SYS_tgkill, process, thread, signal);
}

EXPORT void __pthread_unwind_next(void *buffer) {
    (void)buffer;
    abort(); // only glibc's own cancellation ever gets here
}
