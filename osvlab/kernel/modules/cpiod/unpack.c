// From the entries of an archive to files.
//
// Invariant: a file appears under its name only when all of it has arrived: it is written under
// another name beside and then renamed. So a stream that is damaged or cut leaves every earlier
// entry whole, and nothing of the one it broke in.

#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place.h"

#define PART ".cpiod.part"

static const char cut[] = "the stream ends in the middle of it";

static int failed(const char **error) {
    *error = errno ? strerror(errno) : cut;
    return -1;
}

// Moves the data of an entry into a file.
static int receive(struct input *in, int file, size_t size) {
    while (size) {
        size_t got;
        const unsigned char *some = input_some(in, size, &got);
        if (!some)
            return -1;
        for (size_t done = 0; done < got;) {
            ssize_t put = write(file, some + done, got - done);
            if (put < 0 && errno != EINTR)
                return -1;
            done += put > 0 ? (size_t)put : 0;
        }
        input_took(in, got);
        size -= got;
    }
    return 0;
}

static int put_file(struct input *in, int directory, const char *name, const struct entry *entry,
                    const char **error) {
    int file = openat(directory, PART, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (file < 0)
        return failed(error);
    int status = receive(in, file, entry->size);
    if (status == 0)
        status = fchmod(file, entry->mode & 0777);
    int because = errno;
    if (close(file) < 0 && status == 0) {
        status = -1;
        because = errno;
    }
    if (status == 0 && (status = renameat(directory, PART, directory, name)) < 0)
        because = errno;
    if (status < 0)
        unlinkat(directory, PART, 0);
    errno = because;
    return status < 0 ? failed(error) : 0;
}

static int put_link(struct input *in, int directory, const char *name, const struct entry *entry,
                    bool verbose, const char **error) {
    char target[PATH_MAX];
    *error = "the link's target is empty or too long";
    if (entry->size == 0 || entry->size >= sizeof(target))
        return -1;
    if (!input_exactly(in, target, entry->size))
        return failed(error);
    target[entry->size] = 0;
    *error = "the link's target contains a NUL";
    if (strlen(target) != entry->size)
        return -1;
    if (verbose)
        printf("Link %s to %s ...\n", entry->name, target);
    unlinkat(directory, PART, 0);
    if (symlinkat(target, directory, PART) < 0 || renameat(directory, PART, directory, name) < 0)
        return failed(error);
    return 0;
}

static int put_directory(int directory, const char *name, const struct entry *entry,
                         const char **error) {
    struct stat found;
    *error = "a directory with data in it";
    if (entry->size != 0)
        return -1;
    if (!*name || !strcmp(name, ".")) // the root itself
        return 0;
    if (mkdirat(directory, name, 0755) < 0) {
        if (errno != EEXIST)
            return failed(error);
        if (fstatat(directory, name, &found, 0) < 0 || !S_ISDIR(found.st_mode)) {
            errno = EEXIST;
            return failed(error);
        }
    }
    return fchmodat(directory, name, entry->mode & 0777, 0) < 0 ? failed(error) : 0;
}

static int put(struct input *in, int root, const struct entry *entry, bool verbose,
               const char **error) {
    const char *name;
    if (verbose && !S_ISLNK(entry->mode))
        printf("Adding %s...\n", entry->name);
    int directory = place_open(root, entry->name, &name);
    if (directory < 0) {
        *error = errno == EXDEV ? "the name leads out of the prefix" : strerror(errno);
        return -1;
    }
    int status;
    *error = "a file without a name";
    if (S_ISDIR(entry->mode))
        status = put_directory(directory, name, entry, error);
    else if (!*name || !strcmp(name, "."))
        status = -1;
    else if (S_ISREG(entry->mode))
        status = put_file(in, directory, name, entry, error);
    else
        status = put_link(in, directory, name, entry, verbose, error);
    close(directory);
    return status;
}

int unpack(struct input *in, const char *prefix, bool verbose, struct entry *entry,
           struct complaint *complaint) {
    const char **error = &complaint->what;
    entry->name[0] = 0;
    complaint->after = false;
    int status, root = open(prefix, O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        snprintf(entry->name, sizeof(entry->name), "%s", prefix);
        return failed(error);
    }
    umask(0);
    while ((status = archive_next(in, entry, error)) > 0) {
        if (S_ISREG(entry->mode) || S_ISDIR(entry->mode) || S_ISLNK(entry->mode)) {
            status = put(in, root, entry, verbose, error);
        } else { // as OSv: said, and passed over
            printf("%s: unknown type %u\n", entry->name, entry->mode & S_IFMT);
            status = input_skip(in, entry->size) ? 0 : failed(error);
        }
        if (status == 0 && !archive_padding(in, entry->size))
            status = failed(error);
        if (status < 0)
            return close(root), -1;
    }
    close(root);
    complaint->after = status < 0;
    return status;
}
