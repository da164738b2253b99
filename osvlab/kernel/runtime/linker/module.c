// Modules of the core (include/module.h): loaded into the launcher's own instance, once and for ever.
//
// Invariant: a module's memory is all there, and stays, when its first instruction runs. What a
// module that is refused has mapped is gone again. Libraries of OSv's in the same folder, which
// have no entry for this kernel, are left alone.

#include "linker.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define MODULES_AT 0x080000000000UL // far from where programs go
#define ENTRY "osvlab_module"

static void prepare(void) {
    static struct launch launch;
    if (application.launch)
        return;
    launch.pid = 1;
    launch.registry = registry_own();
    application.launch = &launch;
    application.kernel = kernel_object();
    application.next_address = MODULES_AT;
    application.is_core = true;
}

static bool link_module(struct object *module) {
    if (!search_dependencies(module) || !scope_breadth_first(&module->local, module))
        return false;
    for (struct object *object = module; object; object = object->next) {
        object->local = module->local;
        if (object->tls.image) {
            linker_fail("%s: the core has no thread-local storage", object->path);
            return false;
        }
    }
    return relocate_from(module);
}

static bool start_module(struct object *module, const struct definition *entry) {
    initialise(module);
    int error = core_module_start(definition_address(entry));
    if (error < 0)
        linker_fail("%s: %s", module->path, strerror(-error));
    return error == 0;
}

static bool load_module(const char *path) {
    prepare();
    struct object *last = application.last, *module = search_open(path);
    struct definition entry;
    if (module && application.last == last)
        return true; // it was there already, under another name perhaps
    bool mine = module && lookup_in(module, ENTRY, &entry);
    if (mine && link_module(module) && start_module(module, &entry))
        return true;
    if (!module || mine)
        dprintf(2, "%s\n", linker_error());
    objects_unload_after(last);
    return false;
}

static int is_library(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return length > 3 && !strcmp(entry->d_name + length - 3, ".so");
}

void runtime_load_modules(const char *directory) {
    struct dirent **found;
    int count = scandir(directory, &found, is_library, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", directory, found[i]->d_name);
        load_module(path);
        free(found[i]);
    }
    if (count >= 0)
        free(found);
}
