// posix_spawn: a program starts others, waits for them, and survives those that cannot start.

#include "check.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *self;

static void handler(int signal) {
    (void)signal;
}

// What the program does when it was started by itself.
static int child(int argc, char **argv) {
    if (!strcmp(argv[1], "status"))
        return atoi(argv[2]);
    if (!strcmp(argv[1], "say")) {
        const char *variable = getenv("GREETING");
        printf("%s %s %d\n", variable ? variable : "-", argv[argc - 1], argc);
        return 0;
    }
    if (!strcmp(argv[1], "wait")) {
        pause();
        return 1;
    }
    if (!strcmp(argv[1], "signals")) {
        struct sigaction action;
        sigset_t mask;
        sigaction(SIGUSR1, NULL, &action);
        sigprocmask(SIG_SETMASK, NULL, &mask);
        return (action.sa_handler == SIG_DFL) | sigismember(&mask, SIGUSR2) << 1;
    }
    if (!strcmp(argv[1], "open")) // is that descriptor open?
        return fcntl(atoi(argv[2]), F_GETFD) >= 0;
    if (!strcmp(argv[1], "nest")) { // ends before its own child does
        char *words[] = {self, "say", "grandchild", NULL};
        pid_t id;
        return posix_spawn(&id, self, NULL, NULL, words, environ);
    }
    return 99;
}

static int status_of(pid_t id) {
    int status;
    CHECK(waitpid(id, &status, 0) == id);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int run(char **words, const posix_spawn_file_actions_t *actions,
               const posix_spawnattr_t *attributes) {
    pid_t id;
    int error = posix_spawn(&id, self, actions, attributes, words, environ);
    CHECK(!error);
    return status_of(id);
}

static void redirected(const char *directory) {
    char path[512], line[128] = "";
    char *words[] = {"another name", "say", "two words", NULL};
    char *environment[] = {"GREETING=hello", NULL};
    posix_spawn_file_actions_t actions;
    pid_t id;
    snprintf(path, sizeof(path), "%s/spawned", directory);
    posix_spawn_file_actions_init(&actions);
    CHECK(!posix_spawn_file_actions_addopen(&actions, 7, path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    CHECK(!posix_spawn_file_actions_adddup2(&actions, 7, 1));
    CHECK(!posix_spawn_file_actions_addclose(&actions, 7));
    CHECK(!posix_spawn(&id, self, &actions, NULL, words, environment));
    CHECK(status_of(id) == 0);
    int file = open(path, O_RDONLY);
    CHECK(read(file, line, sizeof(line) - 1) > 0);
    CHECK(!strcmp(line, "hello two words 3\n"));
    close(file);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/no/such/file", O_RDONLY, 0);
    CHECK(posix_spawn(&id, self, &actions, NULL, words, environment) == ENOENT);
    posix_spawn_file_actions_destroy(&actions);
}

static void signals(void) {
    char *words[] = {self, "signals", NULL};
    posix_spawnattr_t attributes;
    sigset_t set;
    signal(SIGUSR1, handler);
    CHECK(run(words, NULL, NULL) == 1);
    signal(SIGUSR1, SIG_IGN);
    CHECK(run(words, NULL, NULL) == 0);
    posix_spawnattr_init(&attributes);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    posix_spawnattr_setsigmask(&attributes, &set);
    CHECK(run(words, NULL, &attributes) == 3);
    posix_spawnattr_destroy(&attributes);
}

static void descriptors(void) {
    char number[16], *words[] = {self, "open", number, NULL};
    int kept = dup(0), closed = fcntl(0, F_DUPFD_CLOEXEC, 20);
    snprintf(number, sizeof(number), "%d", kept);
    CHECK(run(words, NULL, NULL) == 1);
    snprintf(number, sizeof(number), "%d", closed);
    CHECK(run(words, NULL, NULL) == 0);
    CHECK(fcntl(closed, F_GETFD) == FD_CLOEXEC);
    close(kept);
    close(closed);
}

static void refusals(void) {
    char *words[] = {"x", NULL};
    pid_t id = -5;
    CHECK(posix_spawn(&id, "/no/such/program", NULL, NULL, words, environ) == ENOENT);
    const char *reason = dlerror();
    CHECK(reason && strstr(reason, "/no/such/program"));
    CHECK(posix_spawn(&id, "/proc/self/maps", NULL, NULL, words, environ) == ENOEXEC);
    CHECK(posix_spawnp(&id, "no-such-program", NULL, NULL, words, environ) == ENOENT);
    CHECK(id == -5);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

static void many(int count) {
    char *words[] = {self, "status", "7", NULL};
    for (int i = 0; i < count; i++)
        CHECK(run(words, NULL, NULL) == 7);
}

static void killed(void) {
    char *words[] = {self, "wait", NULL};
    pid_t id;
    CHECK(!posix_spawn(&id, self, NULL, NULL, words, environ));
    CHECK(!kill(id, SIGTERM));
    CHECK(status_of(id) == -SIGTERM);
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "count"))
        return child(argc, argv);
    char *directory = getenv("WRITABLE"), *nested[] = {self, "nest", NULL};
    redirected(directory ? directory : "/tmp");
    signals();
    descriptors();
    refusals();
    many(argc > 1 ? atoi(argv[2]) : 5);
    killed();
    CHECK(run(nested, NULL, NULL) == 0);
    puts("ok");
    return 0;
}
