// Thread-local storage: Drepper, "ELF handling for thread-local storage", variant II.
//
// Invariant: a module that is there when the program starts lies at a fixed distance below
// every thread's pointer. A module that arrives by dlopen does so too if it insists
// (DF_STATIC_TLS) and fits into the room kept for such; otherwise the threads that exist get
// separate blocks, found through their dtv, and only later threads get it in their own block.
// __copy_tls lays out new threads from the list and the sizes kept here: dtv, modules, control
// block, and above that what malloc keeps for the thread.

#include <string.h>

#include "../heap/heap.h"
#include "linker.h"

#define STATIC_SURPLUS 1664 // as glibc keeps for libraries that are opened late
#define CONTROL_SIZE (CONTROL_BLOCK_MAX + sizeof(struct thread_cache))

struct musl_thread *tls_first_thread;

static u64 early_block[128];
static struct tls_module **tail = &__libc.tls_head;
static size_t static_end;   // used below the thread pointer by modules at a fixed distance
static size_t static_limit; // as far as that may grow once the program runs
static size_t dynamic_end;  // beyond static_limit: modules in later threads' blocks
static size_t static_align = 16;
static bool running;

static void update_sizes(void) {
    size_t below = running ? dynamic_end : static_limit;
    __libc.tls_align = MAX(__libc.tls_align, static_align);
    size_t size =
        (1 + __libc.tls_count) * sizeof(void *) + below + CONTROL_SIZE + 2 * __libc.tls_align;
    __libc.tls_size = ALIGN_UP(size, __libc.tls_align);
}

void tls_boot(void) {
    __libc.tls_align = static_align;
    __libc.tls_size = sizeof(early_block);
    __init_tp(__copy_tls((unsigned char *)early_block));
    update_sizes();
}

// musl calls this for every new thread, with zeroed memory of the size kept here.
void *__copy_tls(unsigned char *memory) {
    uintptr_t *dtv = (uintptr_t *)memory;
    u64 top = ALIGN_DOWN((u64)memory + __libc.tls_size - CONTROL_SIZE, __libc.tls_align);
    struct musl_thread *thread = (struct musl_thread *)top;
    size_t count = 0;
    for (const struct tls_module *tls = __libc.tls_head; tls; tls = tls->next) {
        dtv[++count] = top - tls->offset;
        memcpy((void *)(top - tls->offset), tls->image, tls->length);
    }
    dtv[0] = count;
    thread->dtv = dtv;
    return thread;
}

// musl calls this while it starts; tls_boot has already been.
void __init_tls(size_t *aux) {
    (void)aux;
}

// Below `end`, room for a block whose address is congruent to its image's.
static size_t place(size_t end, const struct tls_module *tls) {
    end += tls->size + tls->align - 1;
    return end - ((end + (uintptr_t)tls->image) & (tls->align - 1));
}

bool tls_assign(struct object *object, bool at_start) {
    struct tls_module *tls = &object->tls;
    if (!tls->image)
        return true;
    bool insists = object->table[DT_FLAGS] & DF_STATIC_TLS;
    if (at_start || insists) {
        tls->offset = place(static_end, tls);
        if (!at_start && (tls->offset > static_limit || tls->align > static_align)) {
            linker_fail(
                "%s: cannot open it late: its %zu bytes of static thread-local storage do not fit",
                object->path, tls->size);
            return false;
        }
        static_end = tls->offset;
        object->tls_static = true;
    } else {
        tls->offset = dynamic_end = place(dynamic_end, tls);
    }
    if (at_start) {
        static_align = MAX(static_align, tls->align);
        static_limit = dynamic_end = static_end;
    } else {
        __libc.tls_align = MAX(__libc.tls_align, tls->align);
    }
    *tail = tls;
    tail = &tls->next;
    object->tls_id = ++__libc.tls_count;
    update_sizes();
    return true;
}

struct tls_state tls_save(void) {
    return (struct tls_state){tail, static_end, dynamic_end, __libc.tls_count};
}

void tls_restore(struct tls_state state) {
    tail = state.tail;
    *tail = NULL;
    static_end = state.static_end;
    dynamic_end = state.dynamic_end;
    __libc.tls_count = state.count;
    update_sizes();
}

bool tls_install_first(void) {
    static_limit = static_end + STATIC_SURPLUS;
    dynamic_end = static_limit;
    running = true;
    update_sizes();
    unsigned char *memory = __libc_calloc(1, __libc.tls_size);
    if (!memory) {
        linker_fail("%s: out of memory for its thread-local storage", application.program->path);
        return false;
    }
    uintptr_t canary = musl_self()->canary;
    tls_first_thread = __copy_tls(memory);
    tls_first_thread->canary = canary;
    *(struct thread_cache *)((char *)tls_first_thread + CONTROL_BLOCK_MAX) = *thread_cache();
    return __init_tp(tls_first_thread) >= 0;
}

static size_t count_threads(struct musl_thread *self) {
    size_t count = 1;
    for (struct musl_thread *t = self->next; t != self; t = t->next)
        count++;
    return count;
}

// Gives one thread a longer dtv and the new modules' blocks, out of *memory.
static void extend_thread(struct musl_thread *thread, struct object *first_new,
                          unsigned char **memory) {
    uintptr_t *dtv = (uintptr_t *)*memory;
    size_t old = thread->dtv[0];
    memcpy(dtv, thread->dtv, (old + 1) * sizeof(*dtv));
    dtv[0] = __libc.tls_count;
    *memory += (__libc.tls_count + 1) * sizeof(*dtv);
    for (struct object *object = first_new; object; object = object->next) {
        const struct tls_module *tls = &object->tls;
        if (!object->tls_id)
            continue;
        unsigned char *block = (unsigned char *)thread - tls->offset;
        if (!object->tls_static) {
            block = *memory + (((uintptr_t)tls->image - (uintptr_t)*memory) & (tls->align - 1));
            *memory = block + tls->size;
            *memory += -(uintptr_t)*memory & (sizeof(*dtv) - 1);
        }
        memcpy(block, tls->image, tls->length);
        dtv[object->tls_id] = (uintptr_t)block;
    }
    // x86 keeps the order of stores: who sees the new dtv sees what it points to.
    __atomic_store_n(&thread->dtv, dtv, __ATOMIC_RELEASE);
}

bool tls_install_new(struct object *first_new) {
    struct musl_thread *self = musl_self();
    size_t each = (__libc.tls_count + 1) * sizeof(uintptr_t);
    unsigned long signals[16];
    bool any = false;
    for (struct object *object = first_new; object; object = object->next) {
        any |= object->tls_id != 0;
        each += object->tls_id ? object->tls.size + object->tls.align + sizeof(uintptr_t) : 0;
    }
    if (!any)
        return true;
    // pthread_create is kept out by __inhibit_ptc, so the number of threads cannot grow.
    __block_app_sigs(signals);
    __tl_lock();
    size_t threads = count_threads(self);
    __tl_unlock();
    unsigned char *memory = __libc_calloc(threads, each);
    __tl_lock();
    struct musl_thread *thread = self;
    do {
        if (memory)
            extend_thread(thread, first_new, &memory);
        thread = thread->next;
    } while (thread != self);
    __tl_unlock();
    __restore_sigs(signals);
    if (!memory)
        linker_fail("%s: out of memory for its thread-local storage", first_new->path);
    return memory != NULL;
}
