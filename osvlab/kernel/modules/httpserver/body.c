// What becomes of a request's body: see call.h.
//
// A body is either small and kept, or written to a file as it comes; so a large one takes no
// memory, and one that nobody wants is passed over.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "files.h"
#include "upload.h"

static int upload_failed(struct call *call) {
    reply_errno(call, errno, call->upload.target ? call->upload.target : "upload");
    return call->reply.status;
}

static int start_upload(struct call *call) {
    char path[FILE_PATH_LIMIT];
    if (!file_path(call->captured, path)) {
        errno = ENAMETOOLONG;
        return upload_failed(call);
    }
    return upload_start(&call->upload, path) ? 0 : upload_failed(call);
}

static int begin_part(void *argument, const char *name, const char *file_name) {
    struct call *call = argument;
    call->in_field = call->route->body == BODY_FIELD && !strcmp(name, "batch") && !call->kept.used;
    if (call->route->body == BODY_UPLOAD && file_name && !call->upload.taken)
        return start_upload(call);
    return 0;
}

static int part_data(void *argument, const char *bytes, size_t count) {
    struct call *call = argument;
    if (call->in_field) {
        buffer_add(&call->kept, bytes, count);
        return call->kept.failed ? 413 : 0;
    }
    if (call->upload.descriptor < 0)
        return 0;
    return upload_write(&call->upload, bytes, count) ? 0 : upload_failed(call);
}

static int end_part(void *argument) {
    struct call *call = argument;
    call->in_field = false;
    if (call->upload.descriptor < 0)
        return 0;
    return upload_finish(&call->upload) ? 0 : upload_failed(call);
}

static const struct multipart_events events = {begin_part, part_data, end_part};

static bool is_type(struct slice type, const char *name) {
    size_t length = 0;
    while (length < type.length && type.at[length] != ';' && type.at[length] != ' ')
        length++;
    return slice_is((struct slice){type.at, length}, name);
}

int body_begin(struct call *call, struct slice type) {
    if (call->route->body != BODY_FORM && is_type(type, "multipart/form-data")) {
        call->multipart = malloc(sizeof(*call->multipart));
        if (!call->multipart)
            return 507;
        return multipart_begin(call->multipart, type.at, type.length, &events, call) ? 0 : 400;
    }
    if (call->route->body == BODY_UPLOAD)
        return !type.length || is_type(type, "application/octet-stream") ? start_upload(call) : 415;
    call->in_field = is_type(type, "application/x-www-form-urlencoded");
    return 0;
}

int body_feed(struct call *call, const char *bytes, size_t count) {
    if (call->multipart)
        return multipart_feed(call->multipart, bytes, count);
    return part_data(call, bytes, count);
}

int body_end(struct call *call) {
    if (call->multipart)
        return multipart_ended(call->multipart) ? 0 : 400;
    if (call->route->body == BODY_UPLOAD)
        return end_part(call);
    int status = parameters_parse(&call->form, call->kept.bytes, call->kept.used);
    buffer_free(&call->kept);
    return status;
}
