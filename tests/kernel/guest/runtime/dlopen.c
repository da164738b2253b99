// dlopen and its family. argv: a plugin, one with static thread-local storage, one that lacks a symbol.
#include "check.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static pthread_barrier_t before, after;
static int (*next)(void);

static void *old_thread(void *unused) {
    pthread_barrier_wait(&before);
    pthread_barrier_wait(&after);
    CHECK(next() == 41 && next() == 42); // a thread older than the library
    return unused;
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *data) {
    CHECK(size >= sizeof(*info) && info->dlpi_phnum > 0);
    ++*(int *)data;
    return 0;
}

int overridden(void) {
    return 1;
}

int main(int argc, char **argv) {
    pthread_t thread;
    Dl_info info;
    int objects = 0, more = 0;
    CHECK(argc == 4);
    pthread_barrier_init(&before, NULL, 2);
    pthread_barrier_init(&after, NULL, 2);
    CHECK(!pthread_create(&thread, NULL, old_thread, NULL));
    pthread_barrier_wait(&before);
    dl_iterate_phdr(count_objects, &objects);

    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(plugin && dlopen(argv[1], RTLD_LAZY) == plugin);
    next = (int (*)(void))dlsym(plugin, "plugin_next");
    CHECK(next && next() == 41);
    CHECK(*(int *)dlsym(plugin, "plugin_counter") == 41); // of this thread
    pthread_barrier_wait(&after);
    pthread_join(thread, NULL);
    CHECK(next() == 42);
    pthread_barrier_init(&before, NULL, 1);
    pthread_barrier_init(&after, NULL, 1);
    CHECK(!pthread_create(&thread, NULL, old_thread, NULL)); // and one that is younger
    pthread_join(thread, NULL);

    void *fixed = dlopen(argv[2], RTLD_NOW);
    if (!fixed)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(fixed && ((int (*)(void))dlsym(fixed, "plugin_next"))() == 41);
    CHECK(!strcmp(((const char *(*)(void))dlsym(fixed, "plugin_name"))(), "fixed"));

    CHECK(!dlsym(RTLD_DEFAULT, "plugin_next") && strstr(dlerror(), "plugin_next")); // it is local
    CHECK(dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == plugin &&
          dlsym(RTLD_DEFAULT, "plugin_next") == (void *)next);
    CHECK(dladdr((void *)next, &info) && !strcmp(info.dli_sname, "plugin_next") &&
          info.dli_saddr == (void *)next);
    CHECK(strstr(info.dli_fname, "plugin"));
    dl_iterate_phdr(count_objects, &more);
    CHECK(more == objects + 2);
    struct link_map *map;
    CHECK(!dlinfo(plugin, RTLD_DI_LINKMAP, &map) && map->l_addr == (ElfW(Addr))info.dli_fbase);

    CHECK(!dlopen(argv[3], RTLD_NOW));
    const char *error = dlerror();
    CHECK(strstr(error, "nobody_has_this") && strstr(error, argv[3]) && !dlerror());
    CHECK(!dlopen("libnothere.so", RTLD_NOW) && strstr(dlerror(), "libnothere.so"));
    CHECK(!dlopen(argv[3], RTLD_NOW) && dlerror()); // again, after the first was taken back

    CHECK(dlsym(RTLD_NEXT, "malloc") &&
          dlsym(dlopen(NULL, RTLD_NOW), "overridden") == (void *)overridden);
    CHECK(dlopen("libm.so.6", RTLD_NOW) &&
          ((double (*)(double))dlsym(dlopen("libm.so.6", RTLD_NOW), "sqrt"))(9) == 3);
    CHECK(!dlclose(plugin) && next() == 43);
    CHECK(dlclose((void *)&info) && dlerror());
    puts("ok");
    return 0;
}
