// What a handler answers: see call.h.
//
// Every body is JSON but for files and lists of the documentation; an error is
// {"message": "...", "code": N}, as OSv's are.

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "call.h"

static void start_over(struct reply *reply, int status) {
    buffer_free(&reply->body);
    buffer_free(&reply->fields);
    reply->body.failed = reply->fields.failed = false;
    if (reply->file >= 0)
        close(reply->file);
    reply->file = -1;
    reply->type = NULL;
    reply->status = status;
}

void reply_error(struct call *call, int status, const char *format, ...) {
    char message[512];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    start_over(&call->reply, status);
    struct buffer *out = &call->reply.body;
    json_open(out, '{');
    json_text_member(out, "message", message);
    json_number_member(out, "code", status);
    json_close(out, '}');
}

static int status_of(int error) {
    switch (error) {
    case ENOENT:
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return 507;
    case EEXIST:
    case EISDIR:
    case ENOTDIR:
    case ENOTEMPTY:
    case EROFS:
    case EXDEV:
    case EINVAL:
    case ELOOP:
    case ENAMETOOLONG:
    case EBUSY:
        return 400;
    default:
        return 500;
    }
}

void reply_errno(struct call *call, int error, const char *what) {
    if (error == ENOENT)
        reply_error(call, 404, "Not found: '%s'", what);
    else
        reply_error(call, status_of(error), "%s: %s", what, strerror(error));
}

void reply_text(struct call *call, const char *text) {
    json_text(&call->reply.body, text);
}

void reply_number(struct call *call, long long number) {
    json_number(&call->reply.body, number);
}

void reply_nothing(struct call *call) {
    json_text(&call->reply.body, "");
}

void reply_empty(struct call *call) {
    start_over(&call->reply, call->reply.status);
}

const char *reply_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}
