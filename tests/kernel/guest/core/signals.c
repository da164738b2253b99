// Signals: raise, handlers with information, masks, SIGSEGV handlers, timers, restarting.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got, got_code;
static void *volatile got_address;
static sigjmp_buf back;

static void note(int signal) {
    got = signal;
}

static void note_info(int signal, siginfo_t *info, void *context) {
    ucontext_t *c = context;

    got = signal;
    got_code = info->si_code;
    got_address = info->si_addr;
    CHECK(c->uc_mcontext.gregs[REG_RIP] != 0);
}

static void raising(void) {
    struct sigaction action = {.sa_handler = note};

    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0 && got == SIGUSR1);
    got = 0;

    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0 && got == 0);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 1);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 && got == SIGUSR1);

    signal(SIGUSR2, SIG_IGN);
    CHECK(raise(SIGUSR2) == 0);
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    struct sigaction now;
    CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static char *guarded;
static void unprotect(int signal, siginfo_t *info, void *context) {
    (void)context;
    got = signal;
    got_address = info->si_addr;
    got_code = info->si_code;
    CHECK(mprotect(guarded, 4096, PROT_READ | PROT_WRITE) == 0);
}

static void jump_back(int signal) {
    siglongjmp(back, signal);
}

static void faults(void) {
    struct sigaction action = {.sa_sigaction = unprotect, .sa_flags = SA_SIGINFO};

    guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(guarded != MAP_FAILED);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    guarded[100] = 5; // the handler lets it happen, the instruction is run again
    CHECK(got == SIGSEGV && got_address == guarded + 100 && got_code == SEGV_ACCERR &&
          guarded[100] == 5);

    action = (struct sigaction){.sa_handler = jump_back};
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    int caught = sigsetjmp(back, 1);
    if (!caught)
        *(volatile int *)8 = 1;
    CHECK(caught == SIGSEGV);
    caught = sigsetjmp(back, 1); // the mask was restored: it works again
    if (!caught)
        *(volatile int *)16 = 1;
    CHECK(caught == SIGSEGV);

    CHECK(sigaction(SIGFPE, &action, NULL) == 0);
    volatile int one = 1, zero = 0;
    caught = sigsetjmp(back, 1);
    if (!caught)
        zero = one / zero;
    CHECK(caught == SIGFPE);
    CHECK(sigaction(SIGILL, &action, NULL) == 0);
    caught = sigsetjmp(back, 1);
    if (!caught)
        __asm__ volatile("ud2");
    CHECK(caught == SIGILL);
}

static char alternate[65536];
static volatile int was_on_alternate;
static void on_alternate(int signal) {
    char here;

    was_on_alternate = &here >= alternate && &here < alternate + sizeof(alternate);
    siglongjmp(back, signal);
}

static int overflow(int depth) {
    volatile char space[4096];

    space[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + space[0];
}

static void *overflow_thread(void *unused) {
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    struct sigaction action = {.sa_handler = on_alternate, .sa_flags = SA_ONSTACK};

    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    if (!sigsetjmp(back, 1))
        overflow(0);
    CHECK(was_on_alternate);
    return unused;
}

static void stack_overflow(void) {
    pthread_t t;

    CHECK(pthread_create(&t, NULL, overflow_thread, NULL) == 0);
    CHECK(pthread_join(t, NULL) == 0);
}

static void timers(void) {
    struct sigaction action = {.sa_handler = note};
    // Again and again: the first could come before the call that it is to end.
    struct itimerval interval = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    got = 0;
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    CHECK(pause() == -1 && errno == EINTR && got == SIGALRM);

    got = 0;
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    while (got != SIGALRM)
        ; // a busy program is interrupted, too
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);

    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec repeat = {{0, 2000000}, {0, 2000000}};
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &repeat, NULL) == 0);
    for (int i = 0; i < 5; i++) {
        got = 0;
        pause();
        CHECK(got == SIGUSR1);
    }
    CHECK(timer_delete(timer) == 0);

    // alarm interrupts a sleep and reports what is left
    got = 0;
    CHECK(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    struct timespec length = {20, 0}, rest = {0, 0};
    CHECK(nanosleep(&length, &rest) == -1 && errno == EINTR && got == SIGALRM);
    CHECK(rest.tv_sec >= 10 && rest.tv_sec < 20);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static int ends[2];
static void *write_later(void *unused) {
    usleep(30000);
    CHECK(write(ends[1], "x", 1) == 1);
    return unused;
}

static void restarting(void) {
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    struct itimerval once = {{0, 0}, {0, 5000}};
    pthread_t t;
    char c = 0;

    CHECK(pipe(ends) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    got = 0;
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
    CHECK(pthread_create(&t, NULL, write_later, NULL) == 0);
    CHECK(read(ends[0], &c, 1) == 1 && c == 'x' && got == SIGALRM); // not EINTR
    pthread_join(t, NULL);

    action = (struct sigaction){.sa_sigaction = note_info, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    close(ends[0]);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && got == SIGPIPE);
}

static double third(void) {
    return 1.0 / 3.0;
}

// A handler that uses the floating-point registers leaves the interrupted code's alone.
static void clobber(int signal) {
    volatile double sum = 0;

    for (int i = 0; i < 100; i++)
        sum += third() * i;
    got = signal;
}

static void floating_point(void) {
    struct sigaction action = {.sa_handler = clobber};
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    double sum = 0;

    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 3000000; i++)
        sum += i * 0.5;
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(sum == 0.5 * (3000000.0 * 2999999.0 / 2));
}

int main(void) {
    raising();
    faults();
    stack_overflow();
    timers();
    restarting();
    floating_point();
    puts("signals: ok");
    return 0;
}
