// The variables that programs start with: see variables.h.

#include "variables.h"

#include <string.h>

#include "keep.h"
#include "texts.h"

static struct texts settings;

char **variables(void) {
    static char *none[] = {NULL};
    return settings.count ? settings.list : none;
}

static char **find(const char *name, size_t length) {
    for (size_t i = 0; i < settings.count; i++)
        if (!strncmp(settings.list[i], name, length) && settings.list[i][length] == '=')
            return &settings.list[i];
    return NULL;
}

const char *variable_get(const char *name) {
    size_t length = strlen(name);
    char **found = find(name, length);
    return found ? *found + length + 1 : NULL;
}

bool variable_set(const char *name, size_t length, const char *value, bool overwrite) {
    char **found = find(name, length);
    if (found && !overwrite)
        return true;
    size_t size = strlen(value) + 1;
    char *setting = keep(length + 1 + size);
    if (!setting)
        return false;
    memcpy(setting, name, length);
    setting[length] = '=';
    memcpy(setting + length + 1, value, size);
    if (!found)
        return texts_append(&settings, setting);
    *found = setting;
    return true;
}
