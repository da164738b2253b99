// /api: many requests in one, and the server itself.

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "json_read.h"
#include "loop.h"
#include "request.h"

#define MOST_REQUESTS 256

static void add_reply(struct buffer *out, const struct call *call) {
    const struct reply *reply = &call->reply;
    json_open(out, '{');
    json_number_member(out, "code", reply->status);
    json_key(out, "body");
    if (!reply->type && reply->body.used)
        json_raw(out, reply->body.bytes, reply->body.used);
    else
        json_bytes(out, reply->body.bytes ? reply->body.bytes : "", reply->body.used);
    json_close(out, '}');
}

// One object of the list. False: it is none, or has not what it must have.
static bool run_one(struct call *outer, struct json_reader *reader) {
    char *method = NULL, *uri = NULL, *body = NULL;
    char *key, *value;
    if (!json_read_open(reader, '{'))
        return false;
    while (json_read_member(reader, &key, &value)) {
        if (!strcmp(key, "method"))
            method = value;
        else if (!strcmp(key, "relative_url"))
            uri = value;
        else if (!strcmp(key, "body"))
            body = value;
    }
    if (reader->failed || !method || !uri)
        return false;
    struct call call;
    call_init(&call);
    call.nested = true;
    request_inside(&call, method, uri, body);
    add_reply(&outer->reply.body, &call);
    if (call.reply.afterwards)
        outer->reply.afterwards = call.reply.afterwards;
    call_free(&call);
    return true;
}

void api_batch(struct call *call) {
    const char *text = call->kept.used ? call->kept.bytes : call_parameter(call, "batch");
    struct json_reader reader;
    if (call->nested) {
        reply_error(call, 400, "A batch in a batch");
        return;
    }
    if (!text) {
        reply_error(call, 400, "Missing mandatory parameter 'batch'");
        return;
    }
    char *copy = strndup(text, call->kept.used ? call->kept.used : strlen(text));
    json_read_begin(&reader, copy);
    bool good = copy && json_read_open(&reader, '[');
    int count = 0;
    json_open(&call->reply.body, '[');
    while (good && json_read_next(&reader))
        good = ++count <= MOST_REQUESTS && run_one(call, &reader);
    json_close(&call->reply.body, ']');
    if (!good || !json_read_end(&reader))
        reply_error(call, 400, "Not a list of {\"method\", \"relative_url\"}, or more than %d",
                    MOST_REQUESTS);
    free(copy);
}

void api_stop(struct call *call) {
    call->reply.afterwards = loop_stop;
    reply_nothing(call);
}
