// Processes: how the launcher starts a program and learns how it ended.
#pragma once

#include "base.h"

struct registry;
struct spawn;

// What the launcher and the linker inside the application's instance share. It lives in the
// launcher's memory; the application's linker writes `refused`.
struct launch {
    int pid;
    u64 shift; // of the instance the application runs in
    void *stack;
    size_t stack_size;
    bool debug;                // say which objects are loaded
    int refused;               // set when the program could not be started: the exit status
    struct registry *registry; // whose code is where, for crash reports (symbols.h)
    struct spawn *spawn;       // what posix_spawn asked for; NULL: the launcher started it
};

// Starts the program at `path` in a process of its own. NULL, or why it could not even be tried.
const char *process_start(struct launch *launch, const char *path, char **argv, char **environment);

// The same for a program that starts another: what the new process needs, a copy of `spawn` among
// it, lies in memory of its own. `spawn` is of `spawn_size` bytes and refers to nothing.
const char *process_spawn(const struct spawn *spawn, size_t spawn_size, const char *path,
                          char **argv, char **environment, int *pid);

// Waits for the process to end. Returns its exit status, 128+N for a death by signal N.
int process_wait(struct launch *launch);

// Inside the new process, in the instance's code: loads the program and runs it.
_Noreturn void application_entry(long *stack, struct launch *launch);

// clone.S: a child process that shares memory and runs entry(stack, launch) there.
long process_clone(void *stack, void *entry, void *launch);

// clone.S: leaves the linker for the program's first instruction, registers clean.
_Noreturn void process_enter(void *stack, u64 entry);

// startstack.c: lays out what a program finds on its stack when it starts. Returns the stack
// pointer, or NULL if arguments and environment do not fit.
void *start_stack(char *top, char *bottom, const char *path, char **argv, char **environment);

// spawn.c, in the new process: does what was asked for before the program is loaded; tells the
// maker that it runs; tells the maker why it does not.
void spawn_begin(struct spawn *spawn);
void spawn_started(struct spawn *spawn);
void spawn_refused(struct spawn *spawn, int error, const char *text);
