// The launcher's lists of texts, and the variables that programs start with: see texts.h.

#include "texts.h"

#include <string.h>

#include "keep.h"

void *list_grown(void *list, size_t count, size_t more, size_t *room, size_t size) {
    if (count + more <= *room)
        return list;
    size_t wanted = 2 * *room + 4;
    void *grown = keep(wanted * size);
    if (grown && count)
        memcpy(grown, list, count * size);
    if (grown)
        *room = wanted;
    return grown;
}

static bool append(struct texts *texts, char *text) {
    char **grown = list_grown(texts->list, texts->count, 2, &texts->room, sizeof(*grown));
    if (!grown || !text)
        return false;
    texts->list = grown;
    grown[texts->count++] = text;
    grown[texts->count] = NULL;
    return true;
}

bool texts_add(struct texts *texts, const char *text, size_t length) {
    char *copy = keep(length + 1);
    if (copy)
        memcpy(copy, text, length);
    return append(texts, copy);
}

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
        return append(&settings, setting);
    *found = setting;
    return true;
}
