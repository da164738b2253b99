// The ELF linker: loads programs and libraries into one application's namespace.
//
// It runs inside the application's own instance of the runtime, so its variables are the
// application's. Reading order: object.c (a file becomes a mapped object), search.c (which
// files), lookup.c (symbols), tls.c, relocate.c, start.c (the program's life), dlfcn.c; module.c
// loads modules of the core, in the launcher's instance.
// Specifications: gABI 4-5; System V ABI AMD64 supplement 4-5; Drepper, "ELF handling for
// thread-local storage" (2013) and "How to write shared libraries" (2011).
#pragma once

#include "base.h"

#include <elf.h>

#include "../musl.h"
#include "../process.h"
#include "../symbols.h"

#ifndef DT_RELR // newer than some <elf.h>
#define DT_RELRSZ 35
#define DT_RELR 36
#define DT_RELRENT 37
#endif

struct object;

// Objects in the order in which symbols are looked for.
struct scope {
    struct object **objects;
    size_t count;
};

struct object {
    // The part that dlinfo(RTLD_DI_LINKMAP) shows: struct link_map of <link.h>.
    u64 base;
    char *path;
    const Elf64_Dyn *dynamic;
    struct object *next, *previous; // all objects of the application, in load order

    const char *short_name; // DT_SONAME, or the last part of the path
    u64 device, inode;      // which file it is
    u64 start, end;         // what it occupies (before it is mapped: link addresses)
    bool mapped;
    Elf64_Phdr *headers;
    size_t header_count;
    u64 entry;
    bool executable_type; // ET_EXEC: may not move
    bool position_independent_executable;
    bool has_interpreter;
    bool is_kernel, is_main, global, relocated, initialised, finalised, text_relocations;
    bool symbolic_resolvers; // some of its relocations name an IFUNC

    const Elf64_Sym *symbols;
    const char *strings;
    size_t strings_size;
    const u32 *gnu_hash, *hash;
    const u16 *versions;
    u32 symbol_limit;  // no more symbols than that can lie inside the object
    u64 table[DT_NUM]; // the dynamic section by tag; addresses are still link addresses
    u64 relr, relr_size;
    const char *runpath, *rpath;

    struct object **needed;
    size_t needed_count;
    struct object *loader; // who needed it first
    struct scope local;    // of the dlopen that brought it

    struct tls_module tls;
    size_t tls_id;   // 0 = has none
    bool tls_static; // at the same distance from every thread's pointer
    u64 relro_start, relro_end;
    const void *eh_frame_header;
};

// Everything the linker knows about this application.
struct application {
    struct object *first, *last; // the program, ..., the kernel is not in the list
    struct object *program, *kernel;
    struct scope global;
    struct launch *launch;
    int argc;
    char **argv, **environment;
    u64 (*auxv)[2];
    bool wants_glibc;                // some object is linked with glibc (compat/differences.c)
    unsigned long long loaded_count; // objects ever loaded
    u64 next_address;                // where the next object is asked to go
    bool is_core;                    // objects become part of the core (module.c)
};
extern HIDDEN struct application application;

// The last error. Failing functions return false or NULL with the text set.
void linker_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *linker_error(void);

// object.c, dynamic.c, kernel_object.c
struct object *object_load(const char *path, int descriptor);
void object_unload(struct object *object);
bool object_read_dynamic(struct object *object);
struct object *kernel_object(void);
void object_register(struct object *object, int descriptor);
static inline void *object_at(const struct object *object, u64 link_address) {
    return (void *)(object->base + link_address);
}
static inline bool object_holds(const struct object *object, const void *place, u64 size) {
    return (u64)place >= object->start && (u64)place <= object->end &&
           size <= object->end - (u64)place;
}

// search.c
extern HIDDEN const char *const default_directories[];
struct object *search_library(const char *name, struct object *wanted_by);
struct object *search_open(const char *path);       // NULL with error set
void objects_unload_after(struct object *last);     // takes back what was loaded since; NULL: all
bool search_dependencies(struct object *first_new); // of every object from there on
bool scope_breadth_first(struct scope *scope, struct object *root);
char *search_program(const char *name); // the path of a program, or NULL

// lookup.c
struct definition {
    struct object *object;
    const Elf64_Sym *symbol;
};
size_t object_symbol_count(const struct object *object);
bool lookup_in(struct object *object, const char *name, struct definition *out);
bool lookup_scope(const struct scope *scope, const char *name, const struct object *skip,
                  struct definition *out);
// As relocations of `from` see it: global scope, its own dlopen's scope, the kernel.
bool lookup_for(struct object *from, const char *name, const struct object *skip,
                struct definition *out);
void *definition_address(const struct definition *definition); // runs an IFUNC's resolver

// relocate.c, kernel_object.c
bool relocate_from(struct object *first_new); // every object from there on, last first
void kernel_rebind(void);
u64 kernel_moved(u64 address); // where a COPY relocation moved kernel data
void kernel_note_copy(u64 from, u64 to);

// tls.c
void tls_boot(void); // a control block for the first thread, no modules
bool tls_assign(struct object *object, bool at_start);
bool tls_install_first(void);                   // the program's real first thread
bool tls_install_new(struct object *first_new); // for the threads that already run
struct tls_state {
    struct tls_module **tail;
    size_t static_end, dynamic_end, count;
};
struct tls_state tls_save(void); // to take back assignments when dlopen fails
void tls_restore(struct tls_state state);
extern HIDDEN struct musl_thread *tls_first_thread;

// start.c
void initialise(struct object *object); // its dependencies first
