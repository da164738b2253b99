// The environment of programs that are started later (runtime/environment.c), from two programs.

#include "check.h"

#include <stdlib.h>
#include <string.h>

char **osvlab_environment_list(void) __attribute__((weak));
int osvlab_environment_set(const char *name, const char *value) __attribute__((weak));

static int count(const char *name) {
    char **list = osvlab_environment_list();
    int found = 0;
    CHECK(list);
    for (char **at = list; *at; at++)
        found += !strncmp(*at, name, strlen(name));
    free(list);
    return found;
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && osvlab_environment_list && osvlab_environment_set);
    if (!strcmp(argv[1], "set")) {
        char long_value[5000];
        CHECK(!strcmp(getenv("GIVEN"), "1"));
        memset(long_value, 'x', sizeof(long_value) - 1);
        long_value[sizeof(long_value) - 1] = 0;
        CHECK(!osvlab_environment_set("LONG", long_value));
        for (int i = 0; i < 100; i++)
            CHECK(!osvlab_environment_set("NEW", i % 2 ? "a b" : "longer than that"));
        CHECK(!osvlab_environment_set("GIVEN", NULL));
        CHECK(!osvlab_environment_set("NONE", NULL));
        CHECK(count("NEW=") == 1 && count("NEW=a b") == 1 && count("LONG=x") == 1);
        CHECK(count("GIVEN") == 0 && count("OSV_CPUS=") == 1);
        CHECK(!getenv("NEW")); // one's own is another
        return 0;
    }
    CHECK(!getenv("GIVEN") && !strcmp(getenv("NEW"), "a b"));
    CHECK(strlen(getenv("LONG")) == 4999 && getenv("OSV_VERSION"));
    puts("ok");
    return 0;
}
