// Locks, sleeping, time, threads, processes and signals on a host: see files_shim.h.

#include "files_shim.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "counts.h"
#include "poll.h"
#include "syscalls.h"

// --- Locks and sleeping ---

struct thread {
    pthread_cond_t wake;
    bool ready, woken;
};
static __thread struct thread self;
static pthread_mutex_t scheduler = PTHREAD_MUTEX_INITIALIZER;

struct thread *current_thread(void) {
    if (!self.ready) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&self.wake, &attributes);
        self.ready = true;
    }
    return &self;
}
u64 spin_lock(struct spinlock *lock) {
    while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    return 0;
}
void spin_unlock(struct spinlock *lock, u64 flags) {
    (void)flags;
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}
void wait_queue_init(struct wait_queue *queue, const char *name) {
    *queue = (struct wait_queue)WAIT_QUEUE(*queue, name);
}
void wait_prepare(struct wait_queue *queue, struct waiter *waiter) {
    u64 flags = spin_lock(&queue->lock);
    if (waiter->thread == NULL) {
        waiter->thread = current_thread();
        list_append(&queue->waiters, &waiter->link);
    } else if (list_empty(&waiter->link)) {
        list_append(&queue->waiters, &waiter->link);
    }
    pthread_mutex_lock(&scheduler);
    waiter->thread->woken = false;
    pthread_mutex_unlock(&scheduler);
    spin_unlock(&queue->lock, flags);
}
void wait_finish(struct wait_queue *queue, struct waiter *waiter) {
    u64 flags = spin_lock(&queue->lock);
    if (waiter->thread != NULL)
        list_remove(&waiter->link);
    spin_unlock(&queue->lock, flags);
}
int wait_sleep(u64 deadline, bool interruptible) {
    int status = 0;
    (void)interruptible;
    pthread_mutex_lock(&scheduler);
    while (!self.woken && status == 0) {
        struct timespec until = ns_to_timespec(deadline);
        status = deadline == NEVER ? pthread_cond_wait(&self.wake, &scheduler)
                                   : pthread_cond_timedwait(&self.wake, &scheduler, &until);
    }
    pthread_mutex_unlock(&scheduler);
    return self.woken ? 0 : -ETIMEDOUT;
}
int wait_wake(struct wait_queue *queue, int count) {
    int woken = 0;
    u64 flags = spin_lock(&queue->lock);
    while (woken < count && !list_empty(&queue->waiters)) {
        struct waiter *waiter = LIST_FIRST(&queue->waiters, struct waiter, link);
        list_remove(&waiter->link);
        pthread_mutex_lock(&scheduler);
        waiter->thread->woken = true;
        pthread_cond_signal(&waiter->thread->wake);
        pthread_mutex_unlock(&scheduler);
        woken++;
    }
    spin_unlock(&queue->lock, flags);
    return woken;
}
void mutex_init(struct mutex *mutex, const char *name) {
    mutex->owner = NULL;
    wait_queue_init(&mutex->waiters, name);
}
static bool mutex_try(struct mutex *mutex) {
    struct thread *nobody = NULL;
    return __atomic_compare_exchange_n(&mutex->owner, &nobody, current_thread(), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}
void mutex_lock(struct mutex *mutex) {
    ASSERT(mutex->owner != current_thread());
    WAIT_FOR(&mutex->waiters, mutex_try(mutex), NEVER, false);
}
void mutex_unlock(struct mutex *mutex) {
    ASSERT(mutex->owner == current_thread());
    __atomic_store_n(&mutex->owner, NULL, __ATOMIC_RELEASE);
    wait_wake(&mutex->waiters, 1);
}

// --- Time, threads, processes, signals ---

u64 clock_monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return timespec_to_ns(&now);
}
u64 clock_realtime(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return timespec_to_ns(&now);
}

// One thread looks after all timers and calls their functions under the lock, so that a timer
// that was cancelled is not in use any more.
static struct list timers = LIST(timers);
static pthread_mutex_t timers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t timers_once = PTHREAD_ONCE_INIT;

static void *timer_thread(void *unused) {
    for (;; usleep(200)) {
        pthread_mutex_lock(&timers_lock);
        LIST_EACH_SAFE(&timers, timer, struct timer, link) {
            if (clock_monotonic() < timer->deadline)
                continue;
            list_remove(&timer->link);
            timer->pending = false;
            timer->function(timer);
        }
        pthread_mutex_unlock(&timers_lock);
    }
    return unused;
}
static void start_timer_thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, timer_thread, NULL);
    pthread_detach(thread);
}
bool timer_cancel(struct timer *timer) {
    pthread_mutex_lock(&timers_lock);
    bool pending = timer->pending;
    if (pending)
        list_remove(&timer->link);
    timer->pending = false;
    pthread_mutex_unlock(&timers_lock);
    return pending;
}
void timer_set(struct timer *timer, u64 deadline) {
    pthread_once(&timers_once, start_timer_thread);
    timer_cancel(timer);
    pthread_mutex_lock(&timers_lock);
    timer->deadline = deadline;
    timer->pending = true;
    list_append(&timers, &timer->link);
    pthread_mutex_unlock(&timers_lock);
}

struct start {
    void (*function)(void *);
    void *argument;
};
static void *run_thread(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    start.function(start.argument);
    return NULL;
}
struct thread *thread_start(const char *name, void (*function)(void *), void *argument) {
    struct start *start = malloc(sizeof(*start));
    *start = (struct start){function, argument};
    pthread_t thread;
    (void)name;
    pthread_create(&thread, NULL, run_thread, start);
    pthread_detach(thread);
    return current_thread();
}

void thread_yield(void) {
    sched_yield();
}

struct process shim_process = {.pid = 2, .name = "/test"};
int shim_signal;

struct process *current_process(void) {
    return &shim_process;
}
int signal_send(int pid, int tid, const siginfo_t *info) {
    (void)pid, (void)tid;
    shim_signal = info->si_signo;
    return 0;
}
void signal_current_thread(int signal) {
    shim_signal = signal;
}
long sys_kill(int pid, int signal) {
    (void)pid;
    shim_signal = signal;
    return 0;
}
void signal_mask_for_sleep(u64 mask) {
    (void)mask;
}
void processes_each(void (*visit)(struct process *, void *), void *argument) {
    visit(&shim_process, argument);
}
void threads_each(void (*visit)(struct thread *, void *), void *argument) {
    visit(current_thread(), argument);
}
int thread_id(const struct thread *thread) {
    (void)thread;
    return 2;
}
void thread_facts(const struct thread *thread, struct thread_facts *out) {
    *out = (struct thread_facts){.id = thread_id(thread), .pid = 2, .runnable = true};
}
u64 switch_count(void) {
    return 1;
}
u64 interrupt_count(void) {
    return 2;
}
u64 fault_count(void) {
    return 3;
}
const char *thread_name(const struct thread *thread) {
    (void)thread;
    return "test";
}
