// A program's life: loaded, linked, its initialisers, main, its finalisers.
//
// `application_entry` is to a new process what the kernel's execve and ld.so are together on
// Linux. Order of initialisation: gABI 5, "Initialization and Termination Functions".

#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../image.h"
#include "linker.h"
#include "runtime.h"

#define NOT_FOUND 127 // exit statuses as a shell gives them
#define NOT_RUNNABLE 126

struct application application;

typedef void initialiser(int, char **, char **);
typedef int main_function(int, char **, char **);

static char error_text[1024];
static struct object **initialised; // in that order; finalisers run backwards
static size_t initialised_count;

void linker_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(error_text, sizeof(error_text), format, list);
    va_end(list);
}

const char *linker_error(void) {
    return error_text;
}

static _Noreturn void refuse(int status) {
    struct launch *launch = application.launch;
    if (launch->spawn)
        spawn_refused(launch->spawn, status == NOT_FOUND && !application.program ? ENOENT : ENOEXEC,
                      error_text);
    else
        dprintf(2, "%s\n", error_text);
    launch->refused = status;
    _exit(status);
}

static _Noreturn void enter(long *stack, u64 entry) {
    if (application.launch->spawn)
        spawn_started(application.launch->spawn);
    process_enter(stack, entry);
}

static void run_array(const struct object *object, u64 table, u64 size) {
    u64 *functions = object_at(object, table);
    for (u64 i = 0; i < size / sizeof(u64); i++)
        if (functions[i] && functions[i] != ~0UL)
            ((initialiser *)functions[i])(application.argc, application.argv,
                                          application.environment);
}

static void run_initialisers(const struct object *object) {
    if (object->table[DT_INIT])
        ((initialiser *)(object->base + object->table[DT_INIT]))(application.argc, application.argv,
                                                                 application.environment);
    run_array(object, object->table[DT_INIT_ARRAY], object->table[DT_INIT_ARRAYSZ]);
}

// Remembers that the object's finalisers are due from now on.
static void note_initialised(struct object *object) {
    struct object **grown = __libc_realloc(initialised, (initialised_count + 1) * sizeof(*grown));
    if (!grown)
        return;
    initialised = grown;
    initialised[initialised_count++] = object;
}

void initialise(struct object *object) {
    if (object->initialised)
        return;
    object->initialised = true; // first, because dependencies may be circular
    for (size_t i = 0; i < object->needed_count; i++)
        initialise(object->needed[i]);
    note_initialised(object);
    run_initialisers(object);
}

void __libc_exit_fini(void) {
    while (initialised_count) {
        struct object *object = initialised[--initialised_count];
        u64 *functions = object_at(object, object->table[DT_FINI_ARRAY]);
        for (u64 i = object->table[DT_FINI_ARRAYSZ] / sizeof(u64); i-- > 0;)
            ((void (*)(void))functions[i])();
        if (object->table[DT_FINI])
            ((void (*)(void))(object->base + object->table[DT_FINI]))();
    }
}

// The libraries' initialisers, and the program's own unless its start code brings a function
// that does that (glibc before 2.34 linked __libc_csu_init into every program).
static void initialise_all(initialiser *start_code) {
    struct object *program = application.program;
    bool old_start_code = start_code && (u64)start_code != program->base + program->table[DT_INIT];
    run_array(program, program->table[DT_PREINIT_ARRAY],
              old_start_code ? 0 : program->table[DT_PREINIT_ARRAYSZ]);
    program->initialised = true;
    for (size_t i = 0; i < program->needed_count; i++)
        initialise(program->needed[i]);
    note_initialised(program);
    if (old_start_code)
        start_code(application.argc, application.argv, application.environment);
    else
        run_initialisers(program);
}

// What every program's _start calls.
EXPORT int __libc_start_main(main_function *main, int argc, char **argv, initialiser *init,
                             void (*fini)(void), void (*linker_fini)(void), void *stack_end);
EXPORT int __libc_start_main(main_function *main, int argc, char **argv, initialiser *init,
                             void (*fini)(void), void (*linker_fini)(void), void *stack_end) {
    (void)fini, (void)linker_fini, (void)stack_end;
    initialise_all(init);
    exit(main(argc, argv, application.environment));
}

static void auxv_set(u64 type, u64 value) {
    for (u64(*entry)[2] = application.auxv; (*entry)[0] != AT_NULL; entry++)
        if ((*entry)[0] == type)
            (*entry)[1] = value;
}

// Tells the program about itself, as execve does.
static void describe_program(const struct object *program) {
    u64 headers = 0;
    for (size_t i = 0; i < program->header_count; i++)
        if (program->headers[i].p_type == PT_PHDR)
            headers = program->base + program->headers[i].p_vaddr;
    if (!headers) { // then they lie where the file's start is mapped
        const Elf64_Ehdr *header = (const void *)program->start;
        for (size_t i = 0; i < program->header_count && !headers; i++)
            if (program->headers[i].p_type == PT_LOAD && program->headers[i].p_offset == 0)
                headers = (u64)header + header->e_phoff;
    }
    auxv_set(AT_PHDR, headers);
    auxv_set(AT_PHNUM, program->header_count);
    auxv_set(AT_ENTRY, program->entry);
}

// A program that needs nobody: no interpreter, no libraries, and not a library with a `main`.
static bool is_static(struct object *program, struct definition *main) {
    if (program->has_interpreter || program->needed_count)
        return false;
    if (!program->dynamic || program->executable_type || program->position_independent_executable)
        return true;
    return !lookup_in(program, "main", main);
}

static bool link_program(struct object *program) {
    program->global = true;
    if (!search_dependencies(program) || !scope_breadth_first(&application.global, program))
        return false;
    for (struct object *object = program; object; object = object->next) {
        object->global = true;
        if (!tls_assign(object, true))
            return false;
    }
    if (!tls_install_first() || !relocate_from(program))
        return false;
    kernel_rebind();
    return true;
}

static void read_stack(long *stack, struct launch *launch) {
    extern void *__libc_stack_end;
    application.launch = launch;
    __libc_stack_end = stack;
    application.argc = (int)stack[0];
    application.argv = (char **)(stack + 1);
    application.environment = application.argv + application.argc + 1;
    char **end = application.environment;
    while (*end)
        end++;
    application.auxv = (u64(*)[2])(end + 1);
}

// Gives the process the program's name: its path for /proc and crash reports (here prctl takes
// text where Linux takes an address), its last part for the first thread.
static void name_process(const struct object *program) {
    prctl(PR_SET_MM, PR_SET_MM_ARG_START, program->path, 0, 0);
    prctl(PR_SET_NAME, strrchr(program->path, '/') + 1);
}

static struct object *load_program(void) {
    const char *path = search_program((const char *)getauxval(AT_EXECFN));
    if (!path || access(path, F_OK)) {
        if (path)
            linker_fail("%s: %m", path);
        refuse(NOT_FOUND);
    }
    struct object *program = search_open(path);
    if (!program)
        refuse(NOT_RUNNABLE);
    program->is_main = true;
    application.program = program;
    describe_program(program);
    name_process(program);
    return program;
}

// What the maker has prepared is this process's from now on. The core is only in the first
// instance of the image.
static void take_possession(struct launch *launch) {
    launch->pid = getpid();
    IN_INSTANCE(&core_own, -launch->shift)((u64)launch->stack, launch->stack_size, true);
    IN_INSTANCE(&image_own, -launch->shift)(launch->shift, true);
    if (launch->spawn)
        spawn_begin(launch->spawn);
}

_Noreturn void application_entry(long *stack, struct launch *launch) {
    struct definition main = {0};
    tls_boot();
    read_stack(stack, launch);
    __init_libc(application.environment, application.argv[0]);
    take_possession(launch);
    application.kernel = kernel_object();
    struct object *program = load_program();
    if (is_static(program, &main)) {
        if (!program->entry) {
            linker_fail("%s: Failed looking up main", program->path);
            refuse(NOT_RUNNABLE);
        }
        enter(stack, program->entry);
    }
    auxv_set(AT_BASE, application.kernel->base);
    if (!link_program(program))
        refuse(NOT_FOUND);
    if (program->entry && (program->has_interpreter || program->position_independent_executable ||
                           program->executable_type))
        enter(stack, program->entry);
    if (!lookup_in(program, "main", &main)) {
        linker_fail("%s: Failed looking up main", program->path);
        refuse(NOT_RUNNABLE);
    }
    if (launch->spawn)
        spawn_started(launch->spawn);
    __libc_start_main(definition_address(&main), application.argc, application.argv, NULL, NULL,
                      NULL, NULL);
    __builtin_unreachable();
}
