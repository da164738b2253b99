// Which file is meant by a name: programs, DT_NEEDED libraries, dlopen's argument.
//
// Order for a library: RPATH of the object that wants it and of those that loaded it (only
// where there is no RUNPATH), LD_LIBRARY_PATH, RUNPATH, the default directories (ld.so(8);
// OSv searches RUNPATH or RPATH, then / and /usr/lib: osv core/elf.cc).

#include "linker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const default_directories[] = {
    "/",
    "/usr/lib",
    "/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    NULL,
};
static const char *const program_directories[] = {
    "/", "/usr/lib", "/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", NULL,
};

// Libraries that the kernel is: they are never looked for in the image.
static const char *const kernel_names[] = {
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "ld-linux-x86-64.so.2",
    "libc.so",
    "libc.musl-x86_64.so.1",
    "ld-musl-x86_64.so.1",
    NULL,
};

static bool is_kernel_name(const char *name) {
    for (const char *const *known = kernel_names; *known; known++)
        if (!strcmp(name, *known))
            return true;
    return false;
}

static struct object *loaded_as(const char *name) {
    if (is_kernel_name(name)) {
        application.wants_glibc |= !strcmp(name, "libc.so.6");
        return application.kernel;
    }
    for (struct object *object = application.first; object; object = object->next)
        if (!object->is_main && !strcmp(object->short_name, name))
            return object;
    return NULL;
}

static struct object *loaded_file(int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) || !status.st_ino)
        return NULL;
    for (struct object *object = application.first; object; object = object->next)
        if (object->device == status.st_dev && object->inode == status.st_ino)
            return object;
    return NULL;
}

static void append(struct object *object) {
    object->previous = application.last;
    if (application.last)
        application.last->next = object;
    else
        application.first = object;
    application.last = object;
    application.loaded_count++;
}

void objects_unload_after(struct object *last) {
    struct object *object = last ? last->next : application.first;
    if (last)
        last->next = NULL;
    else
        application.first = NULL;
    application.last = last;
    while (object) {
        struct object *next = object->next;
        object_unload(object);
        object = next;
    }
}

// Loads the open file, unless it is there already.
static struct object *adopt(const char *path, int descriptor) {
    char absolute[PATH_MAX];
    struct object *object = loaded_file(descriptor);
    if (object) {
        close(descriptor);
        return object;
    }
    size_t used = 0;
    if (path[0] != '/' && getcwd(absolute, sizeof(absolute))) {
        used = strlen(absolute);
        if (used > 1 && used + 1 < sizeof(absolute))
            absolute[used++] = '/';
    }
    snprintf(absolute + used, sizeof(absolute) - used, "%s", path);
    object = object_load(absolute, descriptor);
    close(descriptor);
    if (object)
        append(object);
    return object;
}

struct object *search_open(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        linker_fail("%s: %s", path, strerror(errno));
        return NULL;
    }
    return adopt(path, descriptor);
}

// Notes where was looked, for the error message.
struct search {
    const char *name;
    char looked[512];
    size_t length;
};

static int try_directory(struct search *search, char *path, const char *directory, size_t length,
                         const struct object *origin) {
    static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
    char expanded[PATH_MAX] = "";
    for (size_t i = 0; i < ARRAY_SIZE(tokens) && origin; i++) {
        size_t token = strlen(tokens[i]);
        if (length < token || strncmp(directory, tokens[i], token))
            continue;
        const char *slash = strrchr(origin->path, '/');
        snprintf(expanded, sizeof(expanded), "%.*s%.*s", slash ? (int)(slash - origin->path) : 0,
                 origin->path, (int)(length - token), directory + token);
    }
    if (!expanded[0])
        snprintf(expanded, sizeof(expanded), "%.*s", (int)length, directory);
    size_t end = strlen(expanded);
    if (!end)
        return -1;
    if (snprintf(path, PATH_MAX, "%s%s%s", expanded, expanded[end - 1] == '/' ? "" : "/",
                 search->name) >= PATH_MAX)
        return -1;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 && search->length < sizeof(search->looked))
        search->length += (size_t)snprintf(search->looked + search->length,
                                           sizeof(search->looked) - search->length, "%s%s",
                                           search->length ? ", " : "", expanded);
    return descriptor;
}

// Tries a list of directories separated by colons.
static int try_list(struct search *search, char *path, const char *list,
                    const struct object *origin) {
    int descriptor = -1;
    while (list && *list && descriptor < 0) {
        size_t length = strcspn(list, ":");
        descriptor = try_directory(search, path, list, length, origin);
        list += length;
        if (*list == ':')
            list++;
    }
    return descriptor;
}

static int find_library(struct search *search, char *path, struct object *wanted_by) {
    int descriptor = -1;
    for (struct object *o = wanted_by; o && descriptor < 0; o = o->loader)
        if (!wanted_by->runpath && o->rpath)
            descriptor = try_list(search, path, o->rpath, o);
    if (descriptor < 0)
        descriptor = try_list(search, path, getenv("LD_LIBRARY_PATH"), NULL);
    if (descriptor < 0 && wanted_by->runpath)
        descriptor = try_list(search, path, wanted_by->runpath, wanted_by);
    for (const char *const *d = default_directories; *d && descriptor < 0; d++)
        descriptor = try_directory(search, path, *d, strlen(*d), NULL);
    return descriptor;
}

struct object *search_library(const char *name, struct object *wanted_by) {
    char path[PATH_MAX];
    struct search search = {.name = name};
    struct object *object = loaded_as(name);
    if (object)
        return object;
    if (strchr(name, '/') && access(name, R_OK)) {
        linker_fail("%s: library %s: %s", wanted_by->path, name, strerror(errno));
        return NULL;
    }
    if (strchr(name, '/'))
        return search_open(name);
    int descriptor = find_library(&search, path, wanted_by);
    if (descriptor >= 0)
        return adopt(path, descriptor);
    linker_fail("%s: library %s not found (looked in %s)", wanted_by->path, name, search.looked);
    return NULL;
}

// Loads what one object needs.
static bool load_needed(struct object *object) {
    size_t count = 0;
    if (!object->needed_count)
        return true;
    object->needed = __libc_calloc(object->needed_count, sizeof(*object->needed));
    if (!object->needed) {
        linker_fail("%s: out of memory", object->path);
        return false;
    }
    for (const Elf64_Dyn *d = object->dynamic; d->d_tag; d++) {
        if (d->d_tag != DT_NEEDED)
            continue;
        const char *name =
            d->d_un.d_val < object->strings_size ? object->strings + d->d_un.d_val : "";
        struct object *library = search_library(name, object);
        if (!library)
            return false;
        if (library->is_kernel)
            continue;
        if (!library->loader && library != application.program)
            library->loader = object;
        object->needed[count++] = library;
    }
    object->needed_count = count;
    return true;
}

bool search_dependencies(struct object *first_new) {
    for (struct object *object = first_new; object; object = object->next)
        if (!load_needed(object)) // appends to the list, so this walk is breadth first
            return false;
    return true;
}

static bool scope_add(struct scope *scope, struct object *object) {
    for (size_t i = 0; i < scope->count; i++)
        if (scope->objects[i] == object)
            return true;
    struct object **grown = __libc_realloc(scope->objects, (scope->count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    grown[scope->count] = object;
    scope->objects = grown;
    scope->count++;
    return true;
}

bool scope_breadth_first(struct scope *scope, struct object *root) {
    size_t at = scope->count;
    if (!scope_add(scope, root))
        return false;
    for (; at < scope->count; at++)
        for (size_t i = 0; i < scope->objects[at]->needed_count; i++)
            if (!scope_add(scope, scope->objects[at]->needed[i]))
                return false;
    return true;
}

char *search_program(const char *name) {
    static char path[PATH_MAX];
    struct search search = {.name = name};
    if (strchr(name, '/')) {
        snprintf(path, sizeof(path), "%s", name);
        return path;
    }
    for (const char *const *d = program_directories; *d; d++) {
        int descriptor = try_directory(&search, path, *d, strlen(*d), NULL);
        if (descriptor >= 0) {
            close(descriptor);
            return path;
        }
    }
    linker_fail("%s: program not found (looked in %s)", name, search.looked);
    return NULL;
}
