// posix_spawn: a program starts another (POSIX.1-2017, posix_spawn(3)).
//
// There is no fork and no exec, but the launcher starts programs all the time: its function does it
// here too, with the launcher's libc, from which every new instance is made (image.h). The new
// process then does by itself what was asked for (file actions, signals), loads the program, and
// reports through a pipe: the pipe's end means that it runs, a report why it does not. What the
// linker had to say is then to be had from dlerror().
//
// Invariant: the new process never touches memory of its maker, which may end at any moment.

#include "linker/linker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "process.h"

// musl's list of file actions, the last one first (src/process/fdop.h).
struct file_action {
    struct file_action *earlier, *later;
    int kind, descriptor, source, flags;
    mode_t mode;
    char path[];
};
enum { CLOSE = 1, DUPLICATE, OPEN, CHANGE_DIRECTORY, CHANGE_DIRECTORY_TO };

// What the new process is told. The actions follow, one behind the other, the first one first.
struct spawn {
    int report; // writing end of the pipe
    sigset_t mask, defaults;
    size_t action_count;
    char actions[] __attribute__((aligned(16)));
};

struct report {
    int error;
    char text[252];
};

static size_t action_size(const struct file_action *action) {
    size_t path =
        action->kind == OPEN || action->kind == CHANGE_DIRECTORY ? strlen(action->path) + 1 : 0;
    return ALIGN_UP(sizeof(*action) + path, 16);
}

// --- in the new process ----------------------------------------------------------------------

// Handlers are code of the maker's. The calls are made directly, because libc hides the signals
// that it uses itself.
static void reset_signals(const struct spawn *spawn) {
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } action;
    for (int signal = 1; signal < _NSIG; signal++) {
        if (syscall(SYS_rt_sigaction, signal, NULL, &action, _NSIG / 8) ||
            action.handler == SIG_DFL)
            continue;
        if (action.handler == SIG_IGN && !sigismember(&spawn->defaults, signal))
            continue;
        memset(&action, 0, sizeof(action));
        syscall(SYS_rt_sigaction, signal, &action, NULL, _NSIG / 8);
    }
    sigprocmask(SIG_SETMASK, &spawn->mask, NULL);
}

static int open_at(const struct file_action *action) {
    int descriptor = open(action->path, action->flags, action->mode);
    if (descriptor < 0 || descriptor == action->descriptor)
        return descriptor;
    int status = dup2(descriptor, action->descriptor);
    close(descriptor);
    return status;
}

static int duplicate(const struct file_action *action) {
    if (action->source != action->descriptor)
        return dup2(action->source, action->descriptor);
    return fcntl(action->descriptor, F_SETFD, 0); // the same one: it stays open, POSIX says
}

static int run_action(const struct file_action *action) {
    switch (action->kind) {
    case CLOSE:
        close(action->descriptor); // an error here is none
        return 0;
    case DUPLICATE:
        return duplicate(action);
    case OPEN:
        return open_at(action);
    case CHANGE_DIRECTORY:
        return chdir(action->path);
    default:
        return fchdir(action->descriptor);
    }
}

static void close_on_exec(const struct spawn *spawn) {
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < (int)MIN(limit.rlim_cur, 65536UL); i++) {
        int flags = fcntl(i, F_GETFD);
        if (i != spawn->report && flags >= 0 && flags & FD_CLOEXEC)
            close(i);
    }
}

void spawn_begin(struct spawn *spawn) {
    const char *at = spawn->actions;
    reset_signals(spawn);
    for (size_t i = 0; i < spawn->action_count; i++) {
        const struct file_action *action = (const void *)at;
        if (action->descriptor == spawn->report) // it stands where an action wants to put something
            spawn->report = fcntl(spawn->report, F_DUPFD_CLOEXEC, 3);
        if (run_action(action) < 0) {
            spawn_refused(spawn, errno, "a file action failed");
            _exit(127);
        }
        at += action_size(action);
    }
    close_on_exec(spawn);
}

void spawn_started(struct spawn *spawn) {
    close(spawn->report);
}

void spawn_refused(struct spawn *spawn, int error, const char *text) {
    struct report report = {.error = error};
    snprintf(report.text, sizeof(report.text), "%s", text);
    (void)!write(spawn->report, &report, sizeof(report));
    close(spawn->report);
}

// --- in the maker ----------------------------------------------------------------------------

static struct spawn *describe(const posix_spawn_file_actions_t *actions,
                              const posix_spawnattr_t *attributes, int report, size_t *size) {
    struct file_action *first = actions ? actions->__actions : NULL;
    *size = sizeof(struct spawn);
    for (; first; first = first->earlier) {
        *size += action_size(first);
        if (!first->earlier)
            break;
    }
    struct spawn *spawn = __libc_calloc(1, *size);
    if (!spawn)
        return NULL;
    char *to = spawn->actions;
    for (; first; first = first->later, spawn->action_count++) {
        size_t action = action_size(first);
        size_t text =
            first->kind == OPEN || first->kind == CHANGE_DIRECTORY ? strlen(first->path) + 1 : 0;
        memcpy(to, first, sizeof(*first) + text);
        to += action;
    }
    spawn->report = report;
    pthread_sigmask(SIG_SETMASK, NULL, &spawn->mask);
    if (attributes && attributes->__flags & POSIX_SPAWN_SETSIGMASK)
        spawn->mask = attributes->__mask;
    if (attributes && attributes->__flags & POSIX_SPAWN_SETSIGDEF)
        spawn->defaults = attributes->__def;
    return spawn;
}

// Waits until the program runs, or reports. 0 or an error number.
static int await(int descriptor, pid_t child) {
    struct report report;
    ssize_t got;
    do {
        got = read(descriptor, &report, sizeof(report));
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(report))
        return 0;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    __dl_seterr("%s", report.text);
    return report.error;
}

static int start(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char **argv, char **environment) {
    int pipe[2], error = 0;
    size_t size;
    pid_t made = 0;
    sigset_t all, mask;
    if (pipe2(pipe, O_CLOEXEC))
        return errno;
    struct spawn *spawn = describe(actions, attributes, pipe[1], &size);
    // No signal may find the new process with handlers of this one.
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    const char *reason = "no memory";
    if (spawn)
        reason = IN_INSTANCE(&process_spawn, -application.launch->shift)(spawn, size, path, argv,
                                                                         environment, &made);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    close(pipe[1]);
    __libc_free(spawn);
    if (reason) {
        error = ENOMEM;
        __dl_seterr("%s", reason);
    } else {
        error = await(pipe[0], made);
    }
    close(pipe[0]);
    if (!error && child)
        *child = made;
    return error;
}

EXPORT int posix_spawn(pid_t *restrict child, const char *restrict path,
                       const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                       char *const environment[restrict]) {
    char slashed[PATH_MAX];
    int cancel;
    if (!strchr(path, '/')) { // a bare name would be looked for
        if (snprintf(slashed, sizeof(slashed), "./%s", path) >= (int)sizeof(slashed))
            return ENAMETOOLONG;
        path = slashed;
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int error = start(child, path, actions, attributes, (char **)argv, (char **)environment);
    pthread_setcancelstate(cancel, NULL);
    return error;
}

// $PATH first; then where the kernel looks for programs of its command line.
EXPORT int posix_spawnp(pid_t *restrict child, const char *restrict file,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                        char *const environment[restrict]) {
    char path[PATH_MAX];
    const char *list = getenv("PATH"), *found = file;
    int cancel;
    while (!strchr(file, '/') && list && *list) {
        size_t length = strcspn(list, ":");
        int used = snprintf(path, sizeof(path), "%.*s/%s", (int)length, list, file);
        if (length && used < (int)sizeof(path) && !access(path, X_OK)) {
            found = path;
            break;
        }
        list += length + (list[length] == ':');
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int error = start(child, found, actions, attributes, (char **)argv, (char **)environment);
    pthread_setcancelstate(cancel, NULL);
    return error;
}
