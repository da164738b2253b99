// The environment that programs are started with, and the way for programs to change it.
//
// Every program has a libc of its own, so its setenv is only its own business. What the launcher
// hands to new programs is here, and it belongs to the launcher's instance (image.h); programs
// reach it with the two functions at the end.
//
// Invariant: the list is one block, which is replaced as a whole while `busy` is held, so whoever
// holds it sees a list that does not change.

#include "environment.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "image.h"
#include "linker/linker.h"
#include "runtime.h"

struct environment {
    volatile int busy;
    char **list;
    size_t size; // of the block, which mmap gave; 0: it is the launcher's libc's
};
static struct environment environment;

static void enter(struct environment *e) {
    while (__atomic_exchange_n(&e->busy, 1, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void leave(struct environment *e) {
    __atomic_store_n(&e->busy, 0, __ATOMIC_RELEASE);
}

void environment_begin(char **list) {
    environment.list = list;
}

char **environment_hold(void) {
    enter(&environment);
    return environment.list;
}

void environment_release(void) {
    leave(&environment);
}

static size_t block_size(char **list, size_t *count) {
    size_t texts = 0;
    for (*count = 0; list[*count]; ++*count)
        texts += strlen(list[*count]) + 1;
    return (*count + 1) * sizeof(char *) + texts;
}

static bool is_called(const char *variable, const char *name) {
    size_t length = strlen(name);
    return !strncmp(variable, name, length) && variable[length] == '=';
}

// Copies the list into a block; all but `without`, if that is not NULL. Where its texts end.
static char *copy(char **list, const char *without, char **to, size_t room) {
    char *text = (char *)(to + room);
    for (; *list; list++)
        if (!without || !is_called(*list, without)) {
            *to++ = text;
            text = stpcpy(text, *list) + 1;
        }
    *to = NULL;
    return text;
}

static void append(char **list, char *text, const char *name, const char *value) {
    while (*list)
        list++;
    *list++ = text;
    *list = NULL;
    stpcpy(stpcpy(stpcpy(text, name), "="), value);
}

// A copy of the list, in one block, to be freed. NULL: no memory.
EXPORT char **osvlab_environment_list(void);
EXPORT char **osvlab_environment_list(void) {
    struct environment *e = IN_INSTANCE(&environment, -application.launch->shift);
    size_t count;
    enter(e);
    char **block = malloc(block_size(e->list, &count));
    if (block)
        copy(e->list, NULL, block, count + 1);
    leave(e);
    return block;
}

// Sets a variable, or removes it if `value` is NULL. 0, or -1 if there is no memory.
EXPORT int osvlab_environment_set(const char *name, const char *value);
EXPORT int osvlab_environment_set(const char *name, const char *value) {
    u64 shift = -application.launch->shift;
    struct environment *e = IN_INSTANCE(&environment, shift), old;
    size_t count, more = sizeof(char *) + strlen(name) + 1 + (value ? strlen(value) + 1 : 0);
    enter(e);
    old = *e;
    size_t size = ALIGN_UP(block_size(old.list, &count) + more, PAGE_SIZE);
    char **block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block != MAP_FAILED) {
        IN_INSTANCE(&core_own, shift)((u64)block, size, false); // it outlives this program
        char *text = copy(old.list, name, block, count + 2);
        if (value)
            append(block, text, name, value);
        e->list = block;
        e->size = size;
    }
    leave(e);
    if (block == MAP_FAILED)
        return -1;
    if (old.size)
        munmap(old.list, old.size);
    return 0;
}
