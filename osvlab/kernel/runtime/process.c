// Starting a program in a process of its own, and waiting for it.
//
// A process here is what Linux makes with clone(CLONE_VM): the memory is everybody's, but file
// descriptors, current directory, signal handlers and exit status are its own. It runs on a
// stack of its own, in an instance of libc of its own (image.h), so to the program it looks
// like a process on Linux.

#include "process.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "image.h"
#include "runtime.h"
#include "symbols.h"

#define STACK_SIZE (8UL << 20) // paged in on demand, as Linux's default
#define GUARD_SIZE PAGE_SIZE

static const char *stack_create(struct launch *launch) {
    launch->stack_size = STACK_SIZE + GUARD_SIZE;
    launch->stack = mmap(NULL, launch->stack_size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (launch->stack == MAP_FAILED)
        return "no room for its stack";
    if (mprotect(launch->stack, GUARD_SIZE, PROT_NONE)) {
        munmap(launch->stack, launch->stack_size);
        return "cannot protect the end of its stack";
    }
    return NULL;
}

// Once the stack is there. The process itself owns its memory, and may be gone with it before its
// number is known here.
static const char *begin(struct launch *launch, char *top, const char *path, char **argv,
                         char **environment, int *made) {
    const char *error = NULL;
    void *stack = start_stack(top, launch->stack, path, argv, environment);
    if (!stack)
        error = "arguments and environment do not fit on its stack";
    if (!error)
        error = image_instantiate(&launch->shift);
    if (!error) {
        launch->registry = registry_own();
        core_own((u64)launch->stack, launch->stack_size, false);
        image_own(launch->shift, false);
        long pid =
            process_clone(stack, IN_INSTANCE((void *)application_entry, launch->shift), launch);
        if (pid > 0) {
            *made = (int)pid;
            return NULL;
        }
        error = strerror((int)-pid);
        image_release(launch->shift);
    }
    munmap(launch->stack, launch->stack_size);
    return error;
}

const char *process_start(struct launch *launch, const char *path, char **argv,
                          char **environment) {
    const char *error = stack_create(launch);
    if (error)
        return error;
    return begin(launch, (char *)launch->stack + launch->stack_size, path, argv, environment,
                 &launch->pid);
}

const char *process_spawn(const struct spawn *spawn, size_t spawn_size, const char *path,
                          char **argv, char **environment, int *pid) {
    struct launch made = {0};
    size_t room = ALIGN_UP(sizeof(struct launch), 16) + ALIGN_UP(spawn_size, 16);
    const char *error = room > STACK_SIZE / 4 ? "too many file actions" : stack_create(&made);
    if (error)
        return error;
    char *top = (char *)made.stack + made.stack_size - room;
    struct launch *launch = (struct launch *)top;
    made.spawn = memcpy(top + ALIGN_UP(sizeof(struct launch), 16), spawn, spawn_size);
    *launch = made;
    return begin(launch, top, path, argv, environment, pid);
}

int process_wait(struct launch *launch) {
    int status;
    pid_t pid;
    do {
        pid = waitpid(launch->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return 255;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
