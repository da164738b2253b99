// The environment: see environment.h.

#include "environment.h"

#include <stdlib.h>
#include <string.h>

extern char **environ;

// The lab kernel's, which Linux does not have (runtime/environment.c). The list is one block.
__attribute__((weak)) char **osvlab_environment_list(void);
__attribute__((weak)) int osvlab_environment_set(const char *name, const char *value);

char **environment_list(void) {
    if (osvlab_environment_list)
        return osvlab_environment_list();
    size_t count = 0, texts = 0;
    for (; environ && environ[count]; count++)
        texts += strlen(environ[count]) + 1;
    char **list = malloc((count + 1) * sizeof(char *) + texts);
    if (!list)
        return NULL;
    char *text = (char *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        list[i] = text;
        text = stpcpy(text, environ[i]) + 1;
    }
    list[count] = NULL;
    return list;
}

void environment_free(char **list) {
    free(list);
}

const char *environment_find(char **list, const char *name) {
    size_t length = strlen(name);
    for (; length && list && *list; list++)
        if (!strncmp(*list, name, length) && (*list)[length] == '=')
            return *list + length + 1;
    return NULL;
}

// This process's own is kept alike, because words of commands refer to it with $NAME.
bool environment_set(const char *name, const char *value) {
    if (osvlab_environment_set && osvlab_environment_set(name, value))
        return false;
    return !setenv(name, value, 1);
}

void environment_unset(const char *name) {
    if (osvlab_environment_set)
        osvlab_environment_set(name, NULL);
    unsetenv(name);
}
