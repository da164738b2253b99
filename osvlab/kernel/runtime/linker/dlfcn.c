// dlopen and its family.
//
// Nothing is ever unloaded: dlclose succeeds and does nothing, as in musl, so that pointers
// into a library stay good. A dlopen that fails takes back all it did.

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include "linker.h"

static pthread_mutex_t lock;
static pthread_once_t lock_once = PTHREAD_ONCE_INIT;

// Recursive, because initialisers may call dlopen.
static void make_lock(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &attributes);
}

static void enter(void) {
    pthread_once(&lock_once, make_lock);
    pthread_mutex_lock(&lock);
}

static void leave(void) {
    pthread_mutex_unlock(&lock);
}

static struct object *object_of(const void *address) {
    for (struct object *o = application.first; o; o = o->next)
        if ((u64)address >= o->start && (u64)address < o->end)
            return o;
    struct object *kernel = application.kernel;
    return (u64)address >= kernel->start && (u64)address < kernel->end ? kernel : NULL;
}

static bool is_handle(const void *handle) {
    if (handle == application.kernel)
        return true;
    for (struct object *o = application.first; o; o = o->next)
        if (handle == o)
            return true;
    return false;
}

int __dl_invalid_handle(void *handle) {
    if (is_handle(handle))
        return 0;
    __dl_seterr("Invalid library handle %p", handle);
    return 1;
}

// Takes back what a failed dlopen loaded.
static void unload_after(struct object *last, struct tls_state tls) {
    tls_restore(tls);
    objects_unload_after(last);
}

static bool link_new(struct object *first_new, struct object *root) {
    if (!search_dependencies(first_new) || !scope_breadth_first(&first_new->local, root))
        return false;
    for (struct object *o = first_new->next; o; o = o->next)
        o->local = first_new->local;
    for (struct object *o = first_new; o; o = o->next)
        if (!tls_assign(o, false))
            return false;
    return relocate_from(first_new) && tls_install_new(first_new);
}

static struct object *open_locked(const char *name, int mode) {
    struct object *last = application.last;
    struct tls_state tls = tls_save();
    struct object *root = search_library(name, application.program);
    if (!root)
        return NULL;
    if ((mode & RTLD_NOLOAD) && last->next) {
        unload_after(last, tls);
        linker_fail("%s: not loaded", name);
        return NULL;
    }
    if (last->next && !link_new(last->next, root)) {
        unload_after(last, tls);
        return NULL;
    }
    if ((mode & RTLD_GLOBAL) && !root->global) {
        struct scope with = {0};
        scope_breadth_first(&with, root);
        for (size_t i = 0; i < with.count; i++)
            with.objects[i]->global = true;
        __libc_free(with.objects);
        scope_breadth_first(&application.global, root);
    }
    return root;
}

EXPORT void *dlopen(const char *name, int mode) {
    char text[512];
    if (!name)
        return application.program;
    enter();
    __inhibit_ptc(); // no thread may be made while the layout of their storage changes
    struct object *object = open_locked(name, mode);
    if (!object)
        strncpy(text, linker_error(), sizeof(text) - 1)[sizeof(text) - 1] = 0;
    __release_ptc();
    if (object)
        initialise(object);
    leave();
    if (!object)
        __dl_seterr("%s", text);
    return object;
}

// The global objects after the one that asks.
static bool lookup_next(const void *caller, const char *name, struct definition *out) {
    const struct object *from = object_of(caller);
    size_t i = 0;
    while (from && i < application.global.count && application.global.objects[i] != from)
        i++;
    for (i++; from && !from->is_kernel && i < application.global.count; i++)
        if (lookup_in(application.global.objects[i], name, out))
            return true;
    return lookup_in(application.kernel, name, out);
}

static bool lookup_handle(struct object *object, const char *name, struct definition *out) {
    if (object == application.program || object == application.kernel)
        return (object == application.program &&
                lookup_scope(&application.global, name, NULL, out)) ||
               lookup_in(application.kernel, name, out);
    struct scope scope = {0};
    scope_breadth_first(&scope, object);
    bool found = lookup_scope(&scope, name, NULL, out) || lookup_in(application.kernel, name, out);
    __libc_free(scope.objects);
    return found;
}

// dlsym, with the address it was called from.
HIDDEN void *__dlsym(void *handle, const char *name, void *caller);
void *__dlsym(void *handle, const char *name, void *caller) {
    struct definition found;
    bool known;
    enter();
    if (handle == RTLD_NEXT)
        known = lookup_next(caller, name, &found);
    else if (handle == RTLD_DEFAULT)
        known = lookup_handle(application.program, name, &found);
    else if (__dl_invalid_handle(handle)) {
        leave();
        return NULL;
    } else
        known = lookup_handle(handle, name, &found);
    leave();
    if (!known) {
        __dl_seterr("Symbol not found: %s", name);
        return NULL;
    }
    if (ELF64_ST_TYPE(found.symbol->st_info) == STT_TLS) {
        size_t argument[2] = {found.object->tls_id, found.symbol->st_value};
        extern void *__tls_get_addr(size_t *);
        return __tls_get_addr(argument);
    }
    return definition_address(&found);
}

EXPORT void *dlvsym(void *handle, const char *name, const char *version);
EXPORT void *dlvsym(void *handle, const char *name, const char *version) {
    (void)version; // versions are ignored throughout
    return __dlsym(handle, name, __builtin_return_address(0));
}

EXPORT int dladdr(const void *address, Dl_info *info) {
    struct object *object = object_of(address);
    const Elf64_Sym *best = NULL;
    if (!object)
        return 0;
    *info = (Dl_info){.dli_fname = object->path,
                      .dli_fbase = (void *)(object->is_kernel ? object->start : object->base)};
    size_t count = object->symbols ? object_symbol_count(object) : 0;
    for (size_t i = 1; i < count; i++) {
        const Elf64_Sym *symbol = &object->symbols[i];
        u64 at = object->base + symbol->st_value;
        if (!symbol->st_value || symbol->st_shndx == SHN_UNDEF ||
            ELF64_ST_TYPE(symbol->st_info) == STT_TLS || at > (u64)address ||
            (symbol->st_size && (u64)address - at >= symbol->st_size))
            continue;
        if (!best || symbol->st_value > best->st_value)
            best = symbol;
    }
    if (best) {
        info->dli_sname = object->strings + best->st_name;
        info->dli_saddr = (void *)(object->base + best->st_value);
    }
    return 1;
}

static void *tls_block(const struct object *object) {
    uintptr_t *dtv = musl_self()->dtv;
    return object->tls_id && object->tls_id <= dtv[0] ? (void *)dtv[object->tls_id] : NULL;
}

EXPORT int dl_iterate_phdr(int (*visit)(struct dl_phdr_info *, size_t, void *), void *data) {
    int result = 0;
    for (struct object *o = application.first; o && !result; o = o->next) {
        struct dl_phdr_info info = {.dlpi_addr = o->base,
                                    .dlpi_name = o->is_main ? "" : o->path,
                                    .dlpi_phdr = o->headers,
                                    .dlpi_phnum = (Elf64_Half)o->header_count,
                                    .dlpi_adds = application.loaded_count,
                                    .dlpi_tls_modid = o->tls_id,
                                    .dlpi_tls_data = tls_block(o)};
        result = visit(&info, sizeof(info), data);
    }
    return result;
}

// What libgcc's unwinder asks (glibc 2.35, <dlfcn.h>): must work in a signal handler.
struct dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end, *link_map, *eh_frame;
    unsigned long long reserved[7];
};

EXPORT int _dl_find_object(void *address, struct dl_find_object *result);
EXPORT int _dl_find_object(void *address, struct dl_find_object *result) {
    struct object *object = object_of(address);
    if (!object || !object->eh_frame_header)
        return -1;
    *result = (struct dl_find_object){.map_start = (void *)object->start,
                                      .map_end = (void *)object->end,
                                      .link_map = object,
                                      .eh_frame = (void *)object->eh_frame_header};
    return 0;
}
