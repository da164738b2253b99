// Requests that come from inside: see httpserver.h. /api/batch and cloud-init make them.

#include "httpserver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "request.h"

static enum method method_named(const char *name) {
    enum method method = GET;
    while (method < OTHER && strcmp(name, method_names[method]))
        method++;
    return method;
}

// Brings a reply that is a file into memory.
static void collect_file(struct call *call) {
    struct reply *reply = &call->reply;
    char bytes[4096];
    while (reply->file >= 0 && reply->file_left && !reply->body.failed) {
        size_t wanted = reply->file_left < sizeof(bytes) ? (size_t)reply->file_left : sizeof(bytes);
        ssize_t got = pread(reply->file, bytes, wanted, (off_t)reply->file_at);
        if (got <= 0)
            break;
        buffer_add(&reply->body, bytes, (size_t)got);
        reply->file_at += (uint64_t)got;
        reply->file_left -= (uint64_t)got;
    }
    if (reply->body.failed)
        reply_error(call, 507, "The file does not fit into memory");
}

void request_inside(struct call *call, const char *method, const char *uri, const char *body) {
    if (!call_route(call, method_named(method), uri, strlen(uri)))
        return;
    if (call->route->body == BODY_UPLOAD) {
        reply_error(call, 501, "Uploads come over the network");
        return;
    }
    int status = body ? parameters_parse(&call->form, body, strlen(body)) : 0;
    if (status)
        reply_error(call, status, "The body cannot be parsed");
    else
        call_run(call);
    collect_file(call);
}

__attribute__((visibility("default"))) int httpserver_request(const char *method, const char *uri,
                                                              const char *body, char **reply,
                                                              size_t *reply_length) {
    struct call call;
    call_init(&call);
    request_inside(&call, method, uri, body);
    *reply_length = call.reply.body.used;
    *reply = malloc(*reply_length + 1);
    if (*reply) {
        if (*reply_length)
            memcpy(*reply, call.reply.body.bytes, *reply_length);
        (*reply)[*reply_length] = 0;
    }
    int status = call.reply.status;
    void (*afterwards)(void) = call.reply.afterwards;
    call_free(&call);
    if (afterwards)
        afterwards();
    return status;
}
