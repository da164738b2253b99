// Ending a process while its threads are in every state there is: each argument is one way.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

static pthread_mutex_t locked = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];

static void *spin(void *unused) {
    for (volatile long i = 0;; i++)
        ;
    return unused;
}

static void *allocate(void *unused) {
    for (;;)
        free(malloc(1000));
    return unused;
}

static void *print(void *unused) {
    for (;;)
        fputs("", stdout), fflush(stdout);
    return unused;
}

static void *wait_for_mutex(void *unused) {
    pthread_mutex_lock(&locked);
    return unused;
}

static void *read_nothing(void *unused) {
    char c;
    CHECK(read(ends[0], &c, 1) == 1);
    return unused;
}

static void *wait_for_signal(void *unused) {
    pause();
    return unused;
}

static void *leave(void *unused) {
    (void)unused;
    usleep(5000);
    exit(6);
}

static void on_exit_called(void) {
    write(1, "at exit\n", 8);
}

int main(int argc, char **argv) {
    void *(*bodies[])(void *) = {spin,           allocate,     print,
                                 wait_for_mutex, read_nothing, wait_for_signal};
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t t;

    CHECK(pipe(ends) == 0);
    atexit(on_exit_called);
    pthread_mutex_lock(&locked);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        CHECK(pthread_create(&t, NULL, bodies[i], NULL) == 0);
    usleep(20000);
    if (!strcmp(what, "return"))
        return 5;
    if (!strcmp(what, "thread")) { // another thread calls exit
        CHECK(pthread_create(&t, NULL, leave, NULL) == 0);
        pthread_join(t, NULL);
    }
    if (!strcmp(what, "main-thread-ends")) { // the process goes on without its first thread
        CHECK(pthread_create(&t, NULL, leave, NULL) == 0);
        pthread_exit(NULL);
    }
    if (!strcmp(what, "quick"))
        _exit(7);
    if (!strcmp(what, "kill"))
        kill(getpid(), SIGKILL);
    if (!strcmp(what, "term"))
        kill(getpid(), SIGTERM);
    pause();
    return 1;
}
