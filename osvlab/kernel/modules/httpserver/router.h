// The table of routes, and how a path finds its row.
#pragma once

#include "call.h"

extern const struct route routes[];
extern const size_t route_count;

// The row for a method and a path. NULL if there is none; `methods` then has a bit, 1 << method,
// for every method that the path knows. *rest is what {name} stands for, or NULL.
const struct route *router_find(enum method method, const char *path, const char **rest,
                                unsigned *methods);

// Walks over the parameters of a route: false when there are no more.
struct parameter_rule {
    struct slice name, type;
    bool mandatory;
};
bool router_next_parameter(const char **rules, struct parameter_rule *out);
