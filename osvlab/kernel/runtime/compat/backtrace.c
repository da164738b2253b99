// <execinfo.h>: a stack's return addresses, through libgcc's unwinder if the application has
// it (then it understands .eh_frame), else by frame pointers.

#include "compat.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../linker/linker.h"

struct walk {
    void **to;
    int count, room;
};

struct _Unwind_Context;
typedef int trace_function(struct _Unwind_Context *, void *);
static uintptr_t (*get_ip)(struct _Unwind_Context *);

static int note_frame(struct _Unwind_Context *context, void *argument) {
    struct walk *walk = argument;
    if (walk->count >= 0 && walk->count < walk->room)
        walk->to[walk->count] = (void *)get_ip(context);
    walk->count++;
    return walk->count >= walk->room ? 5 /* _URC_END_OF_STACK */ : 0;
}

// The end of this thread's stack: no frame lies beyond it.
static uintptr_t *stack_end(void) {
    const struct musl_thread *self = musl_self();
    const struct launch *launch = application.launch;
    char *first = (char *)launch->stack + launch->stack_size;
    return (uintptr_t *)(self == tls_first_thread ? first : self->stack);
}

// Frames lie at rising addresses; the chain ends with a null pointer (AMD64 supplement 3.4.1).
static int walk_frames(uintptr_t *frame, void **to, int room) {
    uintptr_t *end = stack_end();
    int count = 0;
    while (count < room && frame + 2 <= end && !((uintptr_t)frame & 7) && frame[1]) {
        uintptr_t *next = (uintptr_t *)frame[0];
        to[count++] = (void *)frame[1];
        if (next <= frame)
            break;
        frame = next;
    }
    return count;
}

EXPORT int backtrace(void **to, int room) {
    struct walk walk = {to, -1, room}; // the first frame is this function's
    int (*unwind)(trace_function *, void *) = dlsym(RTLD_DEFAULT, "_Unwind_Backtrace");
    get_ip = dlsym(RTLD_DEFAULT, "_Unwind_GetIP");
    if (!unwind || !get_ip)
        return walk_frames(__builtin_frame_address(0), to, room);
    unwind(note_frame, &walk);
    return walk.count > 0 ? walk.count : walk_frames(__builtin_frame_address(0), to, room);
}

static int describe(char *to, size_t size, void *address) {
    Dl_info info;
    if (!dladdr(address, &info))
        return snprintf(to, size, "[%p]", address);
    if (!info.dli_sname)
        return snprintf(to, size, "%s(+0x%zx) [%p]", info.dli_fname,
                        (size_t)((char *)address - (char *)info.dli_fbase), address);
    return snprintf(to, size, "%s(%s+0x%zx) [%p]", info.dli_fname, info.dli_sname,
                    (size_t)((char *)address - (char *)info.dli_saddr), address);
}

// One block to free: the pointers, then the texts.
EXPORT char **backtrace_symbols(void *const *addresses, int count) {
    size_t size = (size_t)count * sizeof(char *);
    for (int i = 0; i < count; i++)
        size += (size_t)describe(NULL, 0, addresses[i]) + 1;
    char **list = malloc(size ? size : 1);
    if (!list)
        return NULL;
    char *text = (char *)(list + count), *end = (char *)list + size;
    for (int i = 0; i < count; i++) {
        list[i] = text;
        text += describe(text, (size_t)(end - text), addresses[i]) + 1;
    }
    return list;
}

EXPORT void backtrace_symbols_fd(void *const *addresses, int count, int descriptor) {
    for (int i = 0; i < count; i++) {
        char line[256];
        int length = describe(line, sizeof(line) - 1, addresses[i]);
        if (length > (int)sizeof(line) - 2)
            length = (int)sizeof(line) - 2;
        line[length] = '\n';
        if (write(descriptor, line, (size_t)length + 1) < 0)
            return;
    }
}
