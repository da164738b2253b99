// Obstacks: stacks of objects in chunks. <obstack.h> does most of the work in macros; these
// are the functions they fall back on (glibc malloc/obstack.c; interface of glibc 2.x).

#include "compat.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
    char *limit;
    struct chunk *previous;
    char contents[];
};

// The layout that programs were compiled with.
struct obstack {
    long chunk_size;
    struct chunk *chunk;
    char *object_base, *next_free, *chunk_limit;
    union {
        uintptr_t i;
        void *p;
    } scratch;
    int alignment_mask;
    union {
        void *(*plain)(size_t);
        void *(*extra)(void *, size_t);
    } allocate;
    union {
        void (*plain)(void *);
        void (*extra)(void *, void *);
    } release;
    void *extra_argument;
    unsigned use_extra : 1, maybe_empty : 1, allocation_failed : 1;
};

static void print_and_abort(void) {
    fputs("memory exhausted\n", stderr);
    exit(1);
}

EXPORT void (*obstack_alloc_failed_handler)(void) = print_and_abort;
EXPORT int obstack_exit_failure = 1;

static struct chunk *chunk_create(struct obstack *stack, size_t size) {
    struct chunk *chunk = stack->use_extra ? stack->allocate.extra(stack->extra_argument, size)
                                           : stack->allocate.plain(size);
    if (!chunk)
        obstack_alloc_failed_handler();
    chunk->limit = (char *)chunk + size;
    return chunk;
}

static void chunk_release(struct obstack *stack, struct chunk *chunk) {
    if (stack->use_extra)
        stack->release.extra(stack->extra_argument, chunk);
    else
        stack->release.plain(chunk);
}

static char *align(const struct obstack *stack, char *at) {
    return (char *)(((uintptr_t)at + (uintptr_t)stack->alignment_mask) &
                    ~(uintptr_t)stack->alignment_mask);
}

static int begin(struct obstack *stack, int size, int alignment) {
    enum { DEFAULT_SIZE = 4096 - 32 };
    stack->chunk_size = size ? size : DEFAULT_SIZE;
    stack->alignment_mask = (alignment ? alignment : 16) - 1;
    struct chunk *chunk = stack->chunk = chunk_create(stack, (size_t)stack->chunk_size);
    chunk->previous = NULL;
    stack->next_free = stack->object_base = align(stack, chunk->contents);
    stack->chunk_limit = chunk->limit;
    stack->maybe_empty = stack->allocation_failed = 0;
    return 1;
}

EXPORT int _obstack_begin(struct obstack *stack, int size, int alignment, void *(*allocate)(size_t),
                          void (*release)(void *)) {
    stack->allocate.plain = allocate;
    stack->release.plain = release;
    stack->use_extra = 0;
    return begin(stack, size, alignment);
}

EXPORT int _obstack_begin_1(struct obstack *stack, int size, int alignment,
                            void *(*allocate)(void *, size_t), void (*release)(void *, void *),
                            void *argument) {
    stack->allocate.extra = allocate;
    stack->release.extra = release;
    stack->extra_argument = argument;
    stack->use_extra = 1;
    return begin(stack, size, alignment);
}

// Moves the growing object to a chunk with room for `length` more bytes.
EXPORT void _obstack_newchunk(struct obstack *stack, int length) {
    struct chunk *old = stack->chunk;
    size_t object = (size_t)(stack->next_free - stack->object_base);
    size_t size = object + (size_t)length + (object >> 3) + (size_t)stack->alignment_mask + 100;
    if ((long)size < stack->chunk_size)
        size = (size_t)stack->chunk_size;
    struct chunk *chunk = stack->chunk = chunk_create(stack, size);
    chunk->previous = old;
    stack->chunk_limit = chunk->limit;
    char *base = align(stack, chunk->contents);
    memcpy(base, stack->object_base, object);
    if (!stack->maybe_empty && stack->object_base == align(stack, old->contents)) {
        chunk->previous = old->previous; // the old chunk held only this object
        chunk_release(stack, old);
    }
    stack->object_base = base;
    stack->next_free = base + object;
    stack->maybe_empty = 0;
}

static bool holds(const struct chunk *chunk, const void *object) {
    return (const char *)object > (const char *)chunk && (const char *)object <= chunk->limit;
}

// Frees the object and everything made after it; NULL frees all.
EXPORT void obstack_free(struct obstack *stack, void *object) {
    struct chunk *chunk = stack->chunk;
    while (chunk && !(object && holds(chunk, object))) {
        struct chunk *previous = chunk->previous;
        chunk_release(stack, chunk);
        chunk = previous;
        stack->maybe_empty = 1;
    }
    stack->chunk = chunk;
    if (!chunk && object)
        abort(); // not of this obstack
    if (chunk) {
        stack->object_base = stack->next_free = object;
        stack->chunk_limit = chunk->limit;
    }
}

EXPORT int _obstack_allocated_p(struct obstack *stack, void *object) {
    struct chunk *chunk = stack->chunk;
    while (chunk && !holds(chunk, object))
        chunk = chunk->previous;
    return chunk != NULL;
}

EXPORT int _obstack_memory_used(struct obstack *stack) {
    int size = 0;
    for (struct chunk *chunk = stack->chunk; chunk; chunk = chunk->previous)
        size += (int)(chunk->limit - (char *)chunk);
    return size;
}

// Adds formatted text to the object that grows. The length, or -1.
EXPORT int obstack_vprintf(struct obstack *stack, const char *format, va_list arguments) {
    char *text;
    int length = vasprintf(&text, format, arguments);
    if (length < 0)
        return -1;
    if (stack->chunk_limit - stack->next_free < length)
        _obstack_newchunk(stack, length);
    memcpy(stack->next_free, text, length);
    stack->next_free += length;
    free(text);
    return length;
}

EXPORT int obstack_printf(struct obstack *stack, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = obstack_vprintf(stack, format, arguments);
    va_end(arguments);
    return length;
}
