// Processes as clone(CLONE_VM) makes them: waiting for them, from several threads, and orphans.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define STACK 65536
static char stacks[8][STACK] __attribute__((aligned(16)));
static _Atomic int go, collected, grandchild, running;

// In a child: only system calls, since libc's thread is the parent's.
static int leave(void *status) {
    while (!go)
        syscall(SYS_sched_yield);
    syscall(SYS_exit_group, (int)(long)status);
    return 0;
}

static pid_t start(int number, int (*function)(void *), long argument) {
    pid_t pid = clone(function, stacks[number] + STACK, CLONE_VM | SIGCHLD, (void *)argument);
    CHECK(pid > 0);
    return pid;
}

static void *collect(void *unused) {
    (void)unused;
    int status;
    pid_t pid;
    while ((pid = wait(&status)) > 0) {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 6);
        collected++;
    }
    CHECK(pid == -1 && errno == ECHILD);
    return NULL;
}

// Every child is collected once, however many threads wait.
static void several_waiting(void) {
    pthread_t threads[3];

    for (int round = 0; round < 20; round++) {
        go = collected = 0;
        for (int i = 0; i < 6; i++)
            start(i, leave, i);
        CHECK(waitpid(-1, NULL, WNOHANG) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], NULL, collect, NULL) == 0);
        go = 1;
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(collected == 6);
    }
}

static void information(void) {
    sigset_t set;
    siginfo_t info;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    while (sigtimedwait(&set, NULL, &(struct timespec){0}) == SIGCHLD)
        ;
    pid_t pid = start(0, leave, 7);
    CHECK(sigwaitinfo(&set, &info) == SIGCHLD);
    CHECK(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 7);
    CHECK(kill(pid, 0) == 0 || errno == ESRCH);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
    CHECK(waitpid(pid, &status, 0) == -1 && errno == ECHILD);
    CHECK(kill(pid, SIGTERM) == -1 && errno == ESRCH);

    go = 0;
    pid = start(0, leave, 0);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(sigwaitinfo(&set, &info) == SIGCHLD && info.si_code == CLD_KILLED);
    CHECK(info.si_pid == pid && info.si_status == SIGKILL);
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
    go = 1;
}

static int have_child(void *unused) {
    (void)unused;
    running = 1;
    grandchild = clone(leave, stacks[7] + STACK, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD,
                       (void *)5, NULL, NULL, &running);
    syscall(SYS_exit_group, 3);
    return 0;
}

// A grandchild outlives its parent, or is dead before it: it is nobody's to wait for.
static void orphans(void) {
    int status;

    for (int round = 0; round < 20; round++) {
        go = round % 2;
        pid_t pid = start(0, have_child, 0);
        CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3 && grandchild > 0);
        CHECK(waitpid(grandchild, &status, 0) == -1 && errno == ECHILD);
        go = 1;
        while (running) // its stack is needed again
            sched_yield();
    }
}

int main(void) {
    several_waiting();
    information();
    orphans();
    printf("processes: ok\n");
    return 0;
}
