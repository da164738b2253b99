// PUT of /file: MKDIRS, RENAME, COPY, WRITE.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "api_file.h"
#include "upload.h"

struct put {
    struct call *call;
    char path[FILE_PATH_LIMIT], destination[FILE_PATH_LIMIT];
    unsigned permission;
    bool permission_given, overwrite, create_parent;
};

static int make_directories(char *path, size_t skip) {
    for (char *slash = strchr(path + skip, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (slash == path || slash[-1] == '/')
            continue;
        *slash = 0;
        int status = mkdir(path, 0777);
        *slash = '/';
        if (status && errno != EEXIST)
            return errno;
    }
    return 0;
}

static int make_parents(struct put *put, char *path) {
    return put->create_parent ? make_directories(path, strlen(file_root)) : 0;
}

static int put_mkdirs(struct put *put) {
    struct stat status;
    int error = make_directories(put->path, strlen(file_root));
    if (error)
        return error;
    if (mkdir(put->path, 0777) &&
        (errno != EEXIST || stat(put->path, &status) || !S_ISDIR(status.st_mode)))
        return errno;
    return chmod(put->path, put->permission) ? errno : 0;
}

static int put_rename(struct put *put) {
    int error = make_parents(put, put->destination);
    if (error)
        return error;
    if (rename(put->path, put->destination))
        return errno;
    return put->permission_given && chmod(put->destination, put->permission) ? errno : 0;
}

// The copy appears when it is whole.
static int copy_into(int from, struct upload *upload, const char *destination) {
    char bytes[16384];
    ssize_t got;
    if (!upload_start(upload, destination))
        return errno;
    while ((got = read(from, bytes, sizeof(bytes))) > 0)
        if (!upload_write(upload, bytes, (size_t)got))
            return errno;
    return got < 0 || !upload_finish(upload) ? errno : 0;
}

static int put_copy(struct put *put) {
    struct upload upload = {.descriptor = -1};
    struct stat status;
    int error = make_parents(put, put->destination);
    if (error)
        return error;
    if (!put->overwrite && !access(put->destination, F_OK))
        return EEXIST;
    int from = open(put->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (from < 0)
        return errno;
    if (fstat(from, &status))
        error = errno;
    else if (!S_ISREG(status.st_mode))
        error = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    if (!error)
        error = copy_into(from, &upload, put->destination);
    close(from);
    upload_abandon(&upload);
    unsigned mode = put->permission_given ? put->permission : status.st_mode & 07777;
    return error ? error : chmod(put->destination, mode) ? errno : 0;
}

static int put_write(struct put *put) {
    const char *content = call_parameter(put->call, "content");
    int error = make_parents(put, put->path);
    if (error)
        return error;
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | (put->overwrite ? O_TRUNC : O_APPEND);
    struct upload upload = {.descriptor = open(put->path, flags, 0666)};
    if (upload.descriptor < 0)
        return errno;
    if (content && !upload_write(&upload, content, strlen(content)))
        error = errno;
    if (!error && fchmod(upload.descriptor, put->permission))
        error = errno;
    if (close(upload.descriptor) && !error)
        error = errno;
    return error;
}

static bool parse_permission(struct put *put) {
    const char *text = call_parameter(put->call, "permission");
    char *end = NULL;
    put->permission_given = text;
    put->permission = text ? (unsigned)strtoul(text, &end, 8) : 0777;
    if (!text || (end != text && !*end && *text >= '0' && *text <= '7' && put->permission <= 07777))
        return true;
    reply_error(put->call, 400, "Parameter 'permission' is not an octal number: '%s'", text);
    return false;
}

static bool find_destination(struct put *put) {
    const char *destination = call_parameter(put->call, "destination");
    if (!destination) {
        reply_error(put->call, 400, "Missing mandatory parameter 'destination'");
        return false;
    }
    if (uri_climbs(destination)) {
        reply_error(put->call, 400, "Bad path");
        return false;
    }
    return file_named(put->call, destination, put->destination);
}

void file_put(struct call *call) {
    static const struct {
        const char *name;
        int (*run)(struct put *);
        bool has_destination;
    } operations[] = {
        {"MKDIRS", put_mkdirs, false},
        {"RENAME", put_rename, true},
        {"COPY", put_copy, true},
        {"WRITE", put_write, false},
    };
    const char *name = call_parameter(call, "op");
    struct put put = {.call = call};
    size_t i = 0, count = sizeof(operations) / sizeof(operations[0]);
    while (i < count && strcmp(operations[i].name, name))
        i++;
    if (i == count) {
        reply_error(call, 400, "Unknown operation '%s': MKDIRS, RENAME, COPY or WRITE", name);
        return;
    }
    if (!file_named(call, call->captured, put.path) || !parse_permission(&put) ||
        !call_bool(call, "overwrite", false, &put.overwrite) ||
        !call_bool(call, "createParent", false, &put.create_parent) ||
        (operations[i].has_destination && !find_destination(&put)))
        return;
    int error = operations[i].run(&put);
    if (error)
        reply_errno(call, error, call->captured);
    else
        reply_empty(call);
}
