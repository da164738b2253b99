// /env: the environment that programs are started with.

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "environment.h"

void env_list(struct call *call) {
    char **list = environment_list();
    json_open(&call->reply.body, '[');
    for (char **variable = list; variable && *variable; variable++)
        json_text(&call->reply.body, *variable);
    json_close(&call->reply.body, ']');
    environment_free(list);
}

void env_get(struct call *call) {
    char **list = environment_list();
    const char *value = environment_find(list, call->captured);
    if (value)
        reply_text(call, value);
    else
        reply_error(call, 400, "No environment variable %s", call->captured);
    environment_free(list);
}

static bool is_name(struct call *call) {
    if (*call->captured && !strchr(call->captured, '='))
        return true;
    reply_error(call, 400, "Not a name for an environment variable: '%s'", call->captured);
    return false;
}

void env_set(struct call *call) {
    if (!is_name(call))
        return;
    if (environment_set(call->captured, call_parameter(call, "val")))
        reply_nothing(call);
    else
        reply_error(call, 507, "No memory for the variable %s", call->captured);
}

void env_unset(struct call *call) {
    if (!is_name(call))
        return;
    environment_unset(call->captured);
    reply_nothing(call);
}
