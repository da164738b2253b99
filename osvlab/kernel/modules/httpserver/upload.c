// Receiving a file: see upload.h.
//
// Invariant: the target is the old file or the whole new one, never a part of one.

#include "upload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_FILE 0644

bool upload_start(struct upload *upload, const char *target) {
    static const char suffix[] = ".upload-XXXXXX";
    struct stat status;
    if (!stat(target, &status) && S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return false;
    }
    size_t size = strlen(target) + sizeof(suffix);
    upload->taken = true;
    upload->target = strdup(target);
    upload->temporary = malloc(size);
    if (!upload->target || !upload->temporary)
        return false;
    snprintf(upload->temporary, size, "%s%s", target, suffix);
    upload->descriptor = mkstemp(upload->temporary);
    return upload->descriptor >= 0;
}

bool upload_write(struct upload *upload, const char *bytes, size_t count) {
    while (count) {
        ssize_t written = write(upload->descriptor, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}

bool upload_finish(struct upload *upload) {
    int descriptor = upload->descriptor;
    upload->descriptor = -1;
    bool good = !fchmod(descriptor, NEW_FILE);
    good = !close(descriptor) && good && !rename(upload->temporary, upload->target);
    if (!good) {
        int error = errno;
        unlink(upload->temporary);
        errno = error;
    }
    upload->done = good;
    return good;
}

void upload_abandon(struct upload *upload) {
    if (upload->descriptor >= 0) {
        close(upload->descriptor);
        unlink(upload->temporary);
    }
    free(upload->temporary);
    free(upload->target);
    *upload = (struct upload){.descriptor = -1};
}
