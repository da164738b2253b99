// The private side of the distribution's musl that the runtime builds on: what musl's own
// dynamic linker shares with its libc (musl 1.2.3 to 1.2.5: src/internal/libc.h,
// src/internal/pthread_impl.h; the names are hidden, so they exist only for code linked in).
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define EXPORT __attribute__((visibility("default")))

// A block of thread-local storage that every new thread gets a copy of.
struct tls_module {
    struct tls_module *next;
    void *image;                // initial contents
    size_t length, size, align; // of the image; of the block with its zeroes
    size_t offset;              // the block begins this far below the thread pointer
};

struct musl_libc {
    char can_do_threads, threaded, secure;
    volatile signed char need_locks;
    int threads_minus_1;
    size_t *auxv;
    struct tls_module *tls_head;
    size_t tls_size, tls_align, tls_count; // of a new thread's control block and storage
    size_t page_size;
};
extern HIDDEN struct musl_libc __libc;

// A thread's control block, at the thread pointer (FS).
struct musl_thread {
    struct musl_thread *self;
    uintptr_t *dtv; // [0] = number of modules, [i] = address of module i's block
    struct musl_thread *previous, *next; // ring of the threads of this libc
    uintptr_t sysinfo, canary;
    int tid, errno_value;
    volatile int detach_state, cancel;
    volatile unsigned char cancel_disable, cancel_async, flags;
    unsigned char *map_base;
    size_t map_size;
    void *stack;
    size_t stack_size, guard_size;
};

#define CONTROL_BLOCK_MAX 256 // sizeof(struct pthread) is 200

HIDDEN int __init_tp(void *thread);
HIDDEN void *__copy_tls(unsigned char *memory);
HIDDEN void __init_libc(char **envp, char *program);
HIDDEN void __init_tls(size_t *aux);
HIDDEN void __libc_start_init(void);
HIDDEN void __libc_exit_fini(void);
HIDDEN void __funcs_on_exit(void);
HIDDEN void __stdio_exit(void);
HIDDEN void __tl_lock(void);
HIDDEN void __tl_unlock(void);
HIDDEN void __inhibit_ptc(void);
HIDDEN void __release_ptc(void);
HIDDEN void __block_app_sigs(void *set);
HIDDEN void __restore_sigs(void *set);
HIDDEN void __dl_seterr(const char *format, ...);
HIDDEN int __dl_invalid_handle(void *handle);
HIDDEN ptrdiff_t __tlsdesc_static(void);
HIDDEN ptrdiff_t __tlsdesc_dynamic(void);
HIDDEN void __lock(volatile int *lock); // does nothing as long as there is one thread
HIDDEN void __unlock(volatile int *lock);
extern HIDDEN int __malloc_replaced, __aligned_alloc_replaced;

// The allocator under malloc's public name. The linker uses it so that it never calls a
// malloc that the application brought along.
HIDDEN void *__libc_malloc(size_t size);
HIDDEN void *__libc_calloc(size_t count, size_t size);
HIDDEN void *__libc_realloc(void *object, size_t size);
HIDDEN void __libc_free(void *object);

static inline struct musl_thread *musl_self(void) {
    struct musl_thread *self;
    __asm__("mov %%fs:0, %0" : "=r"(self));
    return self;
}
