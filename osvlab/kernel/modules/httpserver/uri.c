// Targets: see uri.h.

#include "uri.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hexadecimal(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool uri_decode(char *text, bool plus_is_blank) {
    char *out = text;
    for (const char *at = text; *at; at++) {
        if (*at == '+' && plus_is_blank) {
            *out++ = ' ';
        } else if (*at == '%') {
            int high = hexadecimal(at[1]), low = high < 0 ? -1 : hexadecimal(at[2]);
            if (low < 0 || !(high | low))
                return false;
            *out++ = (char)(high << 4 | low);
            at += 2;
        } else {
            *out++ = *at;
        }
    }
    *out = 0;
    return true;
}

int parameters_parse(struct parameters *out, const char *text, size_t length) {
    memset(out, 0, sizeof(*out));
    if (!length)
        return 0;
    if (memchr(text, 0, length))
        return 400;
    if (!(out->text = strndup(text, length)))
        return 507;
    for (char *rest = out->text, *pair; (pair = strsep(&rest, "&"));) {
        char *value = pair;
        if (!*pair)
            continue;
        char *name = strsep(&value, "=");
        if (out->count == PARAMETER_LIMIT || !uri_decode(name, true) ||
            (value && !uri_decode(value, true)))
            return 400;
        out->list[out->count].name = name;
        out->list[out->count++].value = value ? value : "";
    }
    return 0;
}

const char *parameters_find(const struct parameters *parameters, const char *name) {
    for (size_t i = 0; i < parameters->count; i++)
        if (!strcmp(parameters->list[i].name, name))
            return parameters->list[i].value;
    return NULL;
}

void parameters_free(struct parameters *parameters) {
    free(parameters->text);
    memset(parameters, 0, sizeof(*parameters));
}

bool uri_climbs(const char *path) {
    for (const char *at = path; (at = strstr(at, "..")); at += 2)
        if ((at == path || at[-1] == '/') && (!at[2] || at[2] == '/'))
            return true;
    return false;
}

bool uri_split(char *target, char **path, char **query) {
    static char nothing[] = "";
    if (!strncasecmp(target, "http://", 7))
        target = target[7] ? target + 7 + strcspn(target + 7, "/?") : target;
    *path = target;
    *query = strchr(target, '?');
    if (*query)
        *(*query)++ = 0;
    else
        *query = nothing;
    size_t length = strlen(*path);
    if (**path != '/')
        return false;
    if (length > 1 && (*path)[length - 1] == '/')
        (*path)[length - 1] = 0;
    return !uri_climbs(*path);
}
