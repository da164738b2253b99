// A call's way from its target to its reply: see call.h.

#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "router.h"
#include "upload.h"

void call_init(struct call *call) {
    memset(call, 0, sizeof(*call));
    call->reply.status = 200;
    call->reply.file = -1;
    call->reply.body.limit = REPLY_LIMIT;
    call->kept.limit = KEPT_BODY_LIMIT;
    call->upload.descriptor = -1;
}

void call_free(struct call *call) {
    upload_abandon(&call->upload);
    if (call->reply.file >= 0)
        close(call->reply.file);
    free(call->multipart);
    free(call->target);
    free(call->captured);
    free(call->host);
    parameters_free(&call->form);
    parameters_free(&call->query);
    buffer_free(&call->kept);
    buffer_free(&call->reply.body);
    buffer_free(&call->reply.fields);
}

static void allow(struct call *call, unsigned methods) {
    buffer_text(&call->reply.fields, "Allow: ");
    for (enum method m = GET; m < OPTIONS; m++)
        if (methods >> m & 1)
            buffer_format(&call->reply.fields, "%s, ", method_names[m]);
    buffer_text(&call->reply.fields, "OPTIONS\r\n");
}

static bool no_route(struct call *call, const char *path, unsigned methods) {
    if (!methods) {
        reply_error(call, 404, "Not found");
        return false;
    }
    if (call->method == OPTIONS) {
        allow(call, methods);
        return false;
    }
    reply_error(call, call->method == OTHER ? 501 : 405, "%s does not know that method", path);
    allow(call, methods);
    return false;
}

static bool capture(struct call *call, const char *rest) {
    if (!rest)
        return true;
    call->captured = strdup(rest);
    if (!call->captured) {
        reply_error(call, 507, "Out of memory");
        return false;
    }
    if (!uri_decode(call->captured, false) || uri_climbs(call->captured)) {
        reply_error(call, 400, "Bad path");
        return false;
    }
    return true;
}

bool call_route(struct call *call, enum method method, const char *target, size_t length) {
    char *path, *query;
    const char *rest;
    unsigned methods;
    call->method = method;
    call->ends_with_slash = length && target[length - 1] == '/';
    if (memchr(target, 0, length) || !(call->target = strndup(target, length)) ||
        !uri_split(call->target, &path, &query)) {
        reply_error(call, 400, "Bad path");
        return false;
    }
    call->route = router_find(method, path, &rest, &methods);
    if (!call->route)
        return no_route(call, path, methods);
    int status = parameters_parse(&call->query, query, strlen(query));
    if (status) {
        reply_error(call, status, "Bad query");
        return false;
    }
    return capture(call, rest);
}

static bool all_there(struct call *call) {
    struct parameter_rule rule;
    const char *rules = call->route->parameters;
    while (router_next_parameter(&rules, &rule)) {
        char name[64];
        if (!rule.mandatory || rule.name.length >= sizeof(name))
            continue;
        memcpy(name, rule.name.at, rule.name.length);
        name[rule.name.length] = 0;
        if (!call_parameter(call, name)) {
            reply_error(call, 400, "Missing mandatory parameter '%s'", name);
            return false;
        }
    }
    return true;
}

void call_run(struct call *call) {
    if (!all_there(call))
        return;
    call->route->handle(call);
    if (call->reply.body.failed || call->reply.fields.failed)
        reply_error(call, 507, "The reply does not fit into memory");
}

const char *call_parameter(const struct call *call, const char *name) {
    const char *value = parameters_find(&call->form, name);
    return value ? value : parameters_find(&call->query, name);
}

bool call_bool(struct call *call, const char *name, bool otherwise, bool *out) {
    const char *value = call_parameter(call, name);
    *out = value ? !strcmp(value, "true") || !strcmp(value, "1") : otherwise;
    if (!value || *out || !strcmp(value, "false") || !strcmp(value, "0"))
        return true;
    reply_error(call, 400, "Parameter '%s' is neither true nor false: '%s'", name, value);
    return false;
}

bool call_number(struct call *call, const char *name, long long otherwise, long long *out) {
    const char *value = call_parameter(call, name);
    char *end = NULL;
    errno = 0;
    *out = value ? strtoll(value, &end, 10) : otherwise;
    if (!value || (end != value && !*end && !errno))
        return true;
    reply_error(call, 400, "Parameter '%s' is not a number: '%s'", name, value);
    return false;
}
