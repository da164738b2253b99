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

const char *process_start(struct launch *launch, char **argv, char **environment) {
    const char *error = stack_create(launch);
    if (error)
        return error;
    char *bottom = launch->stack, *top = bottom + launch->stack_size;
    void *stack = start_stack(top, bottom, argv, environment);
    if (!stack)
        error = "arguments and environment do not fit on its stack";
    if (!error)
        error = image_instantiate(&launch->shift);
    if (!error) {
        launch->registry = registry_own();
        long pid =
            process_clone(stack, IN_INSTANCE((void *)application_entry, launch->shift), launch);
        if (pid > 0) {
            launch->pid = (int)pid;
            return NULL;
        }
        error = strerror((int)-pid);
        image_release(launch->shift);
    }
    munmap(launch->stack, launch->stack_size);
    return error;
}

int process_wait(struct launch *launch) {
    int status;
    pid_t pid;
    do {
        pid = waitpid(launch->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    registry_forget(launch);
    image_release(launch->shift);
    munmap(launch->stack, launch->stack_size);
    if (pid < 0)
        return 255;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
