// /api-doc: the table of routes as Swagger 1.2 listings (github.com/OAI/OpenAPI-Specification,
// version 1.2).

#include <string.h>

#include "api.h"
#include "router.h"

static const struct {
    const char *name, *about;
} families[] = {
    {"api", "Many requests in one; the server itself"},
    {"app", "Starting programs"},
    {"env", "The environment of programs"},
    {"file", "Files"},
    {"fs", "Filesystems"},
    {"hardware", "The machine"},
    {"network", "Interfaces and routes"},
    {"os", "The operating system"},
    {"trace", "Counters and tracing"},
};
#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

static bool is_family(const struct route *route, const char *name) {
    size_t length = strlen(name);
    return !strncmp(route->path + 1, name, length) &&
           (route->path[1 + length] == '/' || !route->path[1 + length]);
}

static void begin(struct buffer *out) {
    json_open(out, '{');
    json_text_member(out, "apiVersion", "0.0.1");
    json_text_member(out, "swaggerVersion", "1.2");
}

void doc_list(struct call *call) {
    struct buffer *out = &call->reply.body;
    begin(out);
    json_key(out, "apis");
    json_open(out, '[');
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        char path[32] = "/";
        strncat(path, families[i].name, sizeof(path) - 2);
        json_open(out, '{');
        json_text_member(out, "path", path);
        json_text_member(out, "description", families[i].about);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_close(out, '}');
}

static void add_parameter(struct buffer *out, struct slice name, struct slice type, bool mandatory,
                          const char *where) {
    json_open(out, '{');
    json_key(out, "name");
    json_bytes(out, name.at, name.length);
    json_key(out, "type");
    json_bytes(out, type.at, type.length);
    json_key(out, "required");
    json_bool(out, mandatory);
    json_text_member(out, "paramType", where);
    json_close(out, '}');
}

static void add_parameters(struct buffer *out, const struct route *route) {
    static const struct slice string = {"string", 6};
    const char *rules = route->parameters, *brace = strchr(route->path, '{');
    struct parameter_rule rule;
    json_key(out, "parameters");
    json_open(out, '[');
    if (brace)
        add_parameter(out, (struct slice){brace + 1, strcspn(brace + 1, "}")}, string, true,
                      "path");
    while (router_next_parameter(&rules, &rule))
        add_parameter(out, rule.name, rule.type, rule.mandatory,
                      route->body == BODY_FIELD ? "form" : "query");
    json_close(out, ']');
}

static void add_operation(struct buffer *out, const struct route *route) {
    json_open(out, '{');
    json_text_member(out, "method", method_names[route->method]);
    json_text_member(out, "summary", route->summary);
    json_text_member(out, "type", route->returns);
    add_parameters(out, route);
    json_close(out, '}');
}

// The operations of one path, which stand together in the table. The row after them.
static size_t add_path(struct buffer *out, size_t i) {
    const char *path = routes[i].path;
    json_open(out, '{');
    json_text_member(out, "path", path);
    json_key(out, "operations");
    json_open(out, '[');
    for (; i < route_count && !strcmp(routes[i].path, path); i++)
        add_operation(out, &routes[i]);
    json_close(out, ']');
    json_close(out, '}');
    return i;
}

static void redirect(struct call *call, const char *name) {
    struct buffer *fields = &call->reply.fields;
    const char *host = call->host ? call->host : "localhost";
    reply_error(call, 301, "/api-doc/%s/", name);
    buffer_format(fields, "Location: http://%s/api-doc/%s/\r\n", host, name);
}

void doc_one(struct call *call) {
    struct buffer *out = &call->reply.body;
    const char *family = NULL;
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (!strcmp(families[i].name, call->captured))
            family = families[i].name;
    if (!family) {
        reply_error(call, 404, "Not found");
        return;
    }
    if (!call->ends_with_slash) {
        redirect(call, family);
        return;
    }
    char path[64] = "http://";
    begin(out);
    strncat(path, call->host && strlen(call->host) < 48 ? call->host : "localhost", 48);
    json_text_member(out, "basePath", path);
    json_key(out, "apis");
    json_open(out, '[');
    for (size_t i = 0; i < route_count;)
        i = is_family(&routes[i], family) ? add_path(out, i) : i + 1;
    json_close(out, ']');
    json_close(out, '}');
}
