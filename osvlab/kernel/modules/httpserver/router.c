// Finding a route: see router.h.
//
// Rows are tried in order, so a path with a {name} comes after those it could swallow.

#include "router.h"

#include <string.h>

static bool matches(const char *pattern, const char *path, const char **rest) {
    size_t fixed = strcspn(pattern, "{");
    *rest = pattern[fixed] ? path + fixed : NULL;
    return pattern[fixed] ? !strncmp(pattern, path, fixed) : !strcmp(pattern, path);
}

const struct route *router_find(enum method method, const char *path, const char **rest,
                                unsigned *methods) {
    *methods = 0;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        if (!matches(route->path, path, rest))
            continue;
        *methods |= 1U << route->method;
        if (route->method == GET)
            *methods |= 1U << HEAD;
        if (route->method == (method == HEAD ? GET : method))
            return route;
    }
    *rest = NULL;
    return NULL;
}

bool router_next_parameter(const char **rules, struct parameter_rule *out) {
    const char *at = *rules ? *rules + strspn(*rules, " ") : "";
    if (!*at)
        return false;
    size_t name = strcspn(at, "*:"), length = strcspn(at, " ");
    out->name = (struct slice){at, name};
    out->mandatory = at[name] == '*';
    size_t type = name + out->mandatory + 1;
    out->type = (struct slice){at + type, length - type};
    *rules = at + length;
    return true;
}
