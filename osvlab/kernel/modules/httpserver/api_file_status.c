// GETFILESTATUS and LISTSTATUS of /file, with OSv's FileStatusProperties.

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_file.h"

static void number_as_text(struct buffer *out, const char *key, const char *format, unsigned n) {
    char text[16];
    snprintf(text, sizeof(text), format, n);
    json_text_member(out, key, text);
}

// Links are followed, as OSv does; one that leads nowhere is shown as itself.
static int add_status(struct buffer *out, const char *path, const char *shown) {
    struct stat own, status;
    if (lstat(path, &own))
        return errno;
    bool link = S_ISLNK(own.st_mode);
    if (!link || stat(path, &status))
        status = own;
    json_open(out, '{');
    json_number_member(out, "accessTime", status.st_atime);
    json_number_member(out, "blockSize", status.st_blksize);
    number_as_text(out, "group", "%u", status.st_gid);
    json_number_member(out, "length", status.st_size);
    json_number_member(out, "modificationTime", status.st_mtime);
    number_as_text(out, "owner", "%u", status.st_uid);
    json_text_member(out, "pathSuffix", shown);
    number_as_text(out, "permission", "%o", status.st_mode & 07777);
    json_number_member(out, "replication", (long long)status.st_nlink);
    if (link) {
        char target[PATH_MAX];
        ssize_t length = readlink(path, target, sizeof(target));
        json_key(out, "symlink");
        json_bytes(out, target, length > 0 ? (size_t)length : 0);
    }
    json_text_member(out, "type",
                     S_ISDIR(status.st_mode)   ? "DIRECTORY"
                     : S_ISLNK(status.st_mode) ? "SYMLINK"
                                               : "FILE");
    json_close(out, '}');
    return 0;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void file_status(struct call *call, const char *path) {
    int error = add_status(&call->reply.body, path, last_part(path));
    if (error)
        reply_errno(call, error, call->captured);
}

static void list_directory(struct call *call, const char *path) {
    struct dirent **entries;
    char child[FILE_PATH_LIMIT];
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        reply_errno(call, errno, call->captured);
        return;
    }
    json_open(&call->reply.body, '[');
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (snprintf(child, sizeof(child), "%s/%s", path, name) < (int)sizeof(child))
            add_status(&call->reply.body, child, name);
        free(entries[i]);
    }
    free(entries);
    json_close(&call->reply.body, ']');
}

// Only * and ? are special here; glob(3) knows more.
static bool escape_pattern(const char *path, char out[FILE_PATH_LIMIT]) {
    size_t used = 0;
    for (; *path && used + 2 < FILE_PATH_LIMIT; path++) {
        if (strchr("[]\\", *path))
            out[used++] = '\\';
        out[used++] = *path;
    }
    out[used] = 0;
    return !*path;
}

static void list_matches(struct call *call, const char *path) {
    char pattern[FILE_PATH_LIMIT];
    glob_t found = {0};
    size_t fixed = strcspn(path, "*?");
    while (fixed && path[fixed - 1] != '/')
        fixed--;
    if (!escape_pattern(path, pattern)) {
        reply_errno(call, ENAMETOOLONG, "path");
        return;
    }
    int status = glob(pattern, 0, NULL, &found);
    json_open(&call->reply.body, '[');
    for (size_t i = 0; !status && i < found.gl_pathc; i++)
        add_status(&call->reply.body, found.gl_pathv[i], found.gl_pathv[i] + fixed);
    json_close(&call->reply.body, ']');
    if (status)
        reply_errno(call, status == GLOB_NOSPACE ? ENOMEM : ENOENT, call->captured);
    globfree(&found);
}

void file_list(struct call *call, const char *path) {
    struct stat status;
    int missing = stat(path, &status) ? errno : 0;
    if (missing && strpbrk(call->captured, "*?")) // a name may hold these, too
        list_matches(call, path);
    else if (missing)
        reply_errno(call, missing, call->captured);
    else if (S_ISDIR(status.st_mode))
        list_directory(call, path);
    else {
        json_open(&call->reply.body, '[');
        add_status(&call->reply.body, path, last_part(path));
        json_close(&call->reply.body, ']');
    }
}
