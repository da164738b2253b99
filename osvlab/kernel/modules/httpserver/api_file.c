// GET, POST and DELETE of /file: contents, uploads, removal. Its other operations are in
// api_file_status.c and api_file_put.c.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "api_file.h"
#include "files.h"
#include "proc.h"
#include "upload.h"

#define DEEPEST 128 // directories that are removed with all that is in them

void file_no_path(struct call *call) {
    reply_error(call, 400, "Missing mandatory parameter 'path'");
}

bool file_named(struct call *call, const char *name, char path[FILE_PATH_LIMIT]) {
    if (file_path(name, path))
        return true;
    reply_errno(call, ENAMETOOLONG, "path");
    return false;
}

// bytes=A-B, bytes=A-, bytes=-N (RFC 9110 section 14.1.2). False: it is none of them, and then
// counts as not given.
static bool parse_range(struct slice text, uint64_t size, uint64_t *from, uint64_t *count) {
    char copy[48];
    if (text.length < 7 || text.length >= sizeof(copy) ||
        !slice_is((struct slice){text.at, 6}, "bytes="))
        return false;
    memcpy(copy, text.at + 6, text.length - 6);
    copy[text.length - 6] = 0;
    char *dash = strchr(copy, '-'), *end;
    if (!dash || strspn(copy, "0123456789-") != strlen(copy) || strchr(dash + 1, '-') ||
        !dash[1 - (dash != copy)])
        return false;
    uint64_t first = strtoull(copy, &end, 10), last = dash[1] ? strtoull(dash + 1, NULL, 10) : size;
    if (dash == copy) { // the last bytes
        last = strtoull(dash + 1, NULL, 10);
        *count = last < size ? last : size;
        *from = size - *count;
        return dash[1];
    }
    if (last < first)
        return false;
    *from = first;
    *count = first >= size ? 0 : (last < size - 1 ? last : size - 1) - first + 1;
    return true;
}

static void not_satisfiable(struct call *call, uint64_t size) {
    reply_error(call, 416, "There are %llu bytes", (unsigned long long)size);
    buffer_format(&call->reply.fields, "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
}

// Which part of a file of that size is wanted. False: none, and the reply says so.
static bool choose_part(struct call *call, uint64_t size, uint64_t *from, uint64_t *count) {
    long long offset, length;
    *from = 0;
    *count = size;
    if (!call_number(call, "offset", 0, &offset) || !call_number(call, "length", -1, &length))
        return false;
    if (call_parameter(call, "offset") || call_parameter(call, "length")) {
        if (offset < 0 || (uint64_t)offset > size ||
            (length < 0 && call_parameter(call, "length"))) {
            not_satisfiable(call, size);
            return false;
        }
        *from = (uint64_t)offset;
        *count = size - *from;
        if (length >= 0 && (uint64_t)length < *count)
            *count = (uint64_t)length;
        return true;
    }
    buffer_text(&call->reply.fields, "Accept-Ranges: bytes\r\n");
    if (!parse_range(call->range, size, from, count))
        return true;
    if (!*count) {
        not_satisfiable(call, size);
        return false;
    }
    call->reply.status = 206;
    buffer_format(&call->reply.fields, "Content-Range: bytes %llu-%llu/%llu\r\n",
                  (unsigned long long)*from, (unsigned long long)(*from + *count - 1),
                  (unsigned long long)size);
    return true;
}

// Files of /proc say that they are empty, and have to be read to know.
static void send_pseudo(struct call *call, const char *path) {
    uint64_t from, count;
    struct buffer text = {0};
    if (!proc_read(path, &text)) {
        reply_errno(call, errno, call->captured);
        return;
    }
    if (choose_part(call, text.used, &from, &count)) {
        call->reply.type = file_type(path);
        buffer_add(&call->reply.body, text.bytes + from, (size_t)count);
    }
    buffer_free(&text);
}

static void send_contents(struct call *call, const char *path) {
    struct stat status;
    uint64_t from, count;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &status)) {
        if (errno == ENOENT || errno == ENOTDIR)
            reply_error(call, 404, "Page not found");
        else
            reply_errno(call, errno, call->captured);
    } else if (!S_ISREG(status.st_mode)) {
        reply_error(call, 400, "Not a file with contents: '%s'", call->captured);
    } else if (!status.st_size) {
        send_pseudo(call, path);
    } else if (choose_part(call, (uint64_t)status.st_size, &from, &count)) {
        call->reply.type = file_type(path);
        call->reply.file = file;
        call->reply.file_at = from;
        call->reply.file_left = count;
        return;
    }
    if (file >= 0)
        close(file);
}

void file_get(struct call *call) {
    const char *operation = call_parameter(call, "op");
    char path[FILE_PATH_LIMIT];
    if (!file_named(call, call->captured, path))
        return;
    if (!strcmp(operation, "GET"))
        send_contents(call, path);
    else if (!strcmp(operation, "GETFILESTATUS"))
        file_status(call, path);
    else if (!strcmp(operation, "LISTSTATUS"))
        file_list(call, path);
    else
        reply_error(call, 400, "Unknown operation '%s': GET, LISTSTATUS or GETFILESTATUS",
                    operation);
}

void file_post(struct call *call) {
    if (call->upload.done)
        reply_empty(call);
    else
        reply_error(call, 400, "There is no file in the body");
}

// Takes all names first: the places of a directory may move while entries are removed.
static int remove_children(char *path, size_t length, int depth);

static int remove_tree(char *path, size_t length, int depth) {
    struct stat status;
    if (lstat(path, &status))
        return errno;
    if (!S_ISDIR(status.st_mode))
        return unlink(path) ? errno : 0;
    if (depth == DEEPEST)
        return ELOOP;
    int error = remove_children(path, length, depth);
    return error ? error : rmdir(path) ? errno : 0;
}

static int remove_children(char *path, size_t length, int depth) {
    struct dirent **entries;
    int error = 0, count = scandir(path, &entries, NULL, NULL);
    if (count < 0)
        return errno;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        size_t room = FILE_PATH_LIMIT - length;
        if (!error && strcmp(name, ".") && strcmp(name, "..")) {
            int added = snprintf(path + length, room, "/%s", name);
            error = (size_t)added >= room ? ENAMETOOLONG
                                          : remove_tree(path, length + (size_t)added, depth + 1);
            path[length] = 0;
        }
        free(entries[i]);
    }
    free(entries);
    return error;
}

void file_delete(struct call *call) {
    const char *operation = call_parameter(call, "op");
    char path[FILE_PATH_LIMIT];
    struct stat status;
    bool recursive;
    if (!call_bool(call, "recursive", false, &recursive) || !file_named(call, call->captured, path))
        return;
    if (strcmp(operation, "DELETE")) {
        reply_error(call, 400, "Unknown operation '%s': DELETE", operation);
        return;
    }
    int error = lstat(path, &status)      ? errno
                : recursive               ? remove_tree(path, strlen(path), 0)
                : S_ISDIR(status.st_mode) ? (rmdir(path) ? errno : 0)
                : unlink(path)            ? errno
                                          : 0;
    if (error)
        reply_errno(call, error, call->captured);
    else
        reply_empty(call);
}
