// Signals that wait: for a thread that takes them, with what came along; and calls that they end.
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got, count;
static volatile int values[16], codes[16];

static void note(int signal) {
    got = signal;
    count++;
}

static void collect(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    values[count % 16] = info->si_value.sival_int;
    codes[count % 16] = info->si_code;
    count++;
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

// Again and again: one alarm could come before the call that it is to end.
static void alarm_every(int milliseconds) {
    struct timeval time = {.tv_usec = milliseconds * 1000};
    CHECK(setitimer(ITIMER_REAL, &(struct itimerval){time, time}, NULL) == 0);
}

// These end with EINTR even if the handler asks for restarting (signal(7)).
static void never_restarted(void) {
    handle(SIGALRM, note, SA_RESTART);
    alarm_every(10);
    CHECK(pause() == -1 && errno == EINTR && got == SIGALRM);

    sigset_t none, alarm;
    sigemptyset(&none);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &alarm, NULL) == 0);
    CHECK(sigsuspend(&none) == -1 && errno == EINTR);
    CHECK(sigprocmask(SIG_UNBLOCK, &alarm, NULL) == 0);

    struct timespec length = {.tv_sec = 20}, rest;
    CHECK(nanosleep(&length, &rest) == -1 && errno == EINTR && rest.tv_sec >= 18);
    CHECK(poll(NULL, 0, 20000) == -1 && errno == EINTR);
    CHECK(select(0, NULL, NULL, NULL, &(struct timeval){20, 0}) == -1 && errno == EINTR);
    struct epoll_event event;
    int epoll = epoll_create1(0);
    CHECK(epoll_wait(epoll, &event, 1, 20000) == -1 && errno == EINTR);
    close(epoll);
    alarm_every(0);
}

static sem_t semaphore;
static void *wait_for_term(void *set) {
    int signal = 0;
    sem_wait(&semaphore);
    CHECK(sigwait(set, &signal) == 0 && signal == SIGTERM);
    return NULL;
}

// All threads block a signal and one of them waits for it, later: it is the process's.
static void for_the_process(void) {
    sigset_t set, pending;
    pthread_t thread;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && sem_init(&semaphore, 0, 0) == 0);
    CHECK(pthread_create(&thread, NULL, wait_for_term, &set) == 0);
    CHECK(kill(getpid(), SIGTERM) == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTERM));
    sem_post(&semaphore);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGTERM));
    CHECK(sigtimedwait(&set, NULL, &(struct timespec){0, 1000}) == -1 && errno == EAGAIN);
    CHECK(sigtimedwait(&set, NULL, &(struct timespec){0, -1}) == -1 && errno == EINVAL);
}

// Real-time signals are queued with their values; others are kept once.
static void values_come_along(void) {
    struct sigaction action = {.sa_sigaction = collect, .sa_flags = SA_SIGINFO};
    int signal = SIGRTMIN + 1;
    sigset_t set;

    CHECK(sigaction(signal, &action, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    count = 0;
    CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 7}) == 0);
    CHECK(count == 1 && values[0] == 7 && codes[0] == SI_QUEUE);

    sigemptyset(&set);
    sigaddset(&set, signal);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    count = 0;
    for (int i = 0; i < 5; i++)
        CHECK(sigqueue(getpid(), signal, (union sigval){.sival_int = i}) == 0);
    CHECK(raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0);
    siginfo_t info;
    CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == getpid());
    CHECK(sigwaitinfo(&set, &info) == signal && info.si_value.sival_int == 0);
    CHECK(info.si_code == SI_QUEUE && info.si_pid == getpid() && count == 0);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 && count == 4);
    for (int i = 0; i < 4; i++)
        CHECK(values[i] == i + 1);
}

static volatile sig_atomic_t called;
static void call(union sigval value) {
    called = value.sival_int;
    sem_post(&semaphore);
}

static void expire(timer_t timer, int flags, struct timespec first, struct timespec interval) {
    struct itimerspec value = {.it_value = first, .it_interval = interval};
    CHECK(timer_settime(timer, flags, &value, NULL) == 0);
}

static void timers(void) {
    timer_t timer;
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 11};
    struct timespec now, none = {0, 0};

    count = 0;
    CHECK(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
    clock_gettime(CLOCK_REALTIME, &now); // an absolute time on that clock
    now.tv_nsec += 10000000;
    now.tv_sec += now.tv_nsec / 1000000000;
    now.tv_nsec %= 1000000000;
    expire(timer, TIMER_ABSTIME, now, none);
    while (count == 0)
        poll(NULL, 0, 10);
    CHECK(values[0] == 11 && codes[0] == SI_TIMER);

    struct itimerspec wrong = {.it_value = {0, 1000000000}};
    CHECK(timer_settime(timer, 0, &wrong, NULL) == -1 && errno == EINVAL);
    wrong = (struct itimerspec){.it_value = {-1, 0}};
    CHECK(timer_settime(timer, 0, &wrong, NULL) == -1 && errno == EINVAL);
    CHECK(timer_delete(timer) == 0);
    event.sigev_signo = 1000;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == -1 && errno == EINVAL);
    struct itimerval strange = {.it_value = {0, 1000000}};
    CHECK(setitimer(ITIMER_REAL, &strange, NULL) == -1 && errno == EINVAL);

    // A nanosecond: far more often than anybody could take. The machine must stay usable, and
    // what was missed is counted.
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    event.sigev_signo = SIGUSR2;
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    expire(timer, 0, (struct timespec){0, 1}, (struct timespec){0, 1});
    poll(NULL, 0, 5);
    for (int i = 0; i < 5; i++)
        CHECK(sigwaitinfo(&set, &info) == SIGUSR2 && info.si_value.sival_int == 11);
    CHECK(info.si_overrun > 0 && timer_getoverrun(timer) > 0);
    CHECK(timer_delete(timer) == 0);

    event = (struct sigevent){
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = call, .sigev_value.sival_int = 42};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    expire(timer, 0, (struct timespec){0, 1000000}, none);
    while (sem_wait(&semaphore) < 0)
        ;
    CHECK(called == 42 && timer_delete(timer) == 0);
}

// Times so far away that they do not fit are far away.
static void for_ever(void) {
    struct timespec ever = {.tv_sec = LONG_MAX / 2};
    alarm_every(10);
    CHECK(nanosleep(&ever, NULL) == -1 && errno == EINTR);
    CHECK(ppoll(NULL, 0, &ever, NULL) == -1 && errno == EINTR);
    CHECK(sem_init(&semaphore, 0, 0) == 0);
    handle(SIGALRM, note, 0);
    CHECK(sem_timedwait(&semaphore, &ever) == -1 && errno == EINTR);
    alarm_every(0);
}

static void *write_to_nobody(void *end) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(write(*(int *)end, "x", 1) == -1 && errno == EPIPE);
    CHECK(sigpending(&set) == 0 && sigismember(&set, SIGPIPE));
    return NULL;
}

// SIGPIPE is the writer's own affair: other threads, which do not block it, live on.
static void broken_pipe(void) {
    int ends[2];
    pthread_t thread;

    signal(SIGPIPE, SIG_DFL);
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    CHECK(pthread_create(&thread, NULL, write_to_nobody, &ends[1]) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[1]);
}

int main(void) {
    never_restarted();
    for_the_process();
    values_come_along();
    timers();
    for_ever();
    broken_pipe();
    printf("queued: ok\n");
    return 0;
}
