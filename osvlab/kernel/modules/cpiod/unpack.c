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

#include "later.h"
#include "place.h"

#define PART ".cpiod.part"

static const char cut[] = "the stream ends in the middle of it";

static int failed(const char **error) {
    *error = errno ? strerror(errno) : cut;
    return -1;
}

static bool is_zero(const unsigned char *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

// Moves the data of an entry into a new file. Zeros are left out: there it has a hole.
static int receive(struct input *in, int file, size_t size) {
    size_t at = 0, end = 0; // in the file; up to where it is written
    while (at < size) {
        size_t got;
        const unsigned char *some = input_some(in, size - at, &got);
        if (!some)
            return -1;
        for (size_t done = 0; done < got && !is_zero(some + done, got - done);) {
            ssize_t put = pwrite(file, some + done, got - done, (off_t)(at + done));
            if (put < 0 && errno != EINTR)
                return -1;
            done += put > 0 ? (size_t)put : 0;
            end = at + done;
        }
        input_took(in, got);
        at += got;
    }
    return end < size ? ftruncate(file, (off_t)size) : 0;
}

struct unpacking {
    struct input *in;
    const struct unpack_how *how;
    int root;
    struct memory memory;
};

// Gives a file, or a link itself, the age that the archive says.
static int set_time(const struct unpacking *to, int directory, const char *name,
                    const struct entry *entry) {
    const struct timespec times[2] = {{.tv_sec = entry->mtime}, {.tv_sec = entry->mtime}};
    if (!to->how->keep_times)
        return 0;
    return utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW);
}

// A further name of a file. Its data comes again, for those who do not know that, and is skipped.
static int put_name(const struct unpacking *to, int directory, const char *name,
                    const struct entry *entry, const char *first, const char **error) {
    const char *last;
    int from = place_open(to->root, first, &last);
    if (from < 0)
        return failed(error);
    unlinkat(directory, PART, 0);
    int status = linkat(from, last, directory, PART, 0);
    if (status == 0)
        status = renameat(directory, PART, directory, name);
    int because = errno;
    // Renaming to another name of the same file does nothing, and says it is done.
    unlinkat(directory, PART, 0);
    close(from);
    errno = because;
    return status == 0 && input_skip(to->in, entry->size) ? 0 : failed(error);
}

static int put_file(const struct unpacking *to, int directory, const char *name,
                    const struct entry *entry, const char **error) {
    int file = openat(directory, PART, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (file < 0)
        return failed(error);
    int status = receive(to->in, file, entry->size);
    if (status == 0)
        status = fchmod(file, entry->mode & 07777);
    int because = errno;
    if (close(file) < 0 && status == 0) {
        status = -1;
        because = errno;
    }
    if (status == 0 && (status = set_time(to, directory, PART, entry)) < 0)
        because = errno;
    if (status == 0 && (status = renameat(directory, PART, directory, name)) < 0)
        because = errno;
    if (status < 0)
        unlinkat(directory, PART, 0);
    errno = because;
    return status < 0 ? failed(error) : 0;
}

static int put_link(const struct unpacking *to, int directory, const char *name,
                    const struct entry *entry, const char **error) {
    char target[PATH_MAX];
    *error = "the link's target is empty or too long";
    if (entry->size == 0 || entry->size >= sizeof(target))
        return -1;
    if (!input_exactly(to->in, target, entry->size))
        return failed(error);
    target[entry->size] = 0;
    *error = "the link's target contains a NUL";
    if (strlen(target) != entry->size)
        return -1;
    if (to->how->verbose)
        printf("Link %s to %s ...\n", entry->name, target);
    unlinkat(directory, PART, 0);
    if (symlinkat(target, directory, PART) < 0 || set_time(to, directory, PART, entry) < 0 ||
        renameat(directory, PART, directory, name) < 0)
        return failed(error);
    return 0;
}

// It was made on the way there, if need be.
static int put_directory(struct unpacking *to, int directory, const struct entry *entry,
                         const char **error) {
    *error = "a directory with data in it";
    if (entry->size != 0)
        return -1;
    if (to->how->keep_times && !directories_add(&to->memory, entry))
        return failed(error);
    return fchmod(directory, entry->mode & 07777) < 0 ? failed(error) : 0;
}

static int put_regular(struct unpacking *to, int directory, const char *name,
                       const struct entry *entry, const char **error) {
    bool several = entry->links > 1;
    const char *first = several ? links_first(&to->memory, entry->inode) : NULL;
    if (first != NULL)
        return put_name(to, directory, name, entry, first, error);
    if (several && !links_add(&to->memory, entry))
        return failed(error);
    return put_file(to, directory, name, entry, error);
}

static int put(struct unpacking *to, const struct entry *entry, const char **error) {
    static char inside[ENTRY_NAME_SIZE + 1]; // of a directory the place is in it
    const char *name;
    if (to->how->verbose && !S_ISLNK(entry->mode))
        printf("Adding %s...\n", entry->name);
    snprintf(inside, sizeof(inside), "%s%s", entry->name, S_ISDIR(entry->mode) ? "/" : "");
    int directory = place_open(to->root, inside, &name);
    if (directory < 0) {
        *error = errno == EXDEV ? "the name leads out of the prefix" : strerror(errno);
        return -1;
    }
    int status;
    *error = "a file without a name";
    if (S_ISDIR(entry->mode))
        status = put_directory(to, directory, entry, error);
    else if (!*name || !strcmp(name, "."))
        status = -1;
    else if (S_ISREG(entry->mode))
        status = put_regular(to, directory, name, entry, error);
    else
        status = put_link(to, directory, name, entry, error);
    close(directory);
    return status;
}

static int unpack_all(struct unpacking *to, struct entry *entry, struct complaint *complaint) {
    const char **error = &complaint->what, *name;
    int status;
    while ((status = archive_next(to->in, entry, error)) > 0) {
        if (S_ISREG(entry->mode) || S_ISDIR(entry->mode) || S_ISLNK(entry->mode)) {
            status = put(to, entry, error);
        } else { // as OSv: said, and passed over
            printf("%s: unknown type %u\n", entry->name, entry->mode & S_IFMT);
            status = input_skip(to->in, entry->size) ? 0 : failed(error);
        }
        if (status == 0 && !archive_padding(to->in, entry->size))
            status = failed(error);
        if (status < 0)
            return -1;
    }
    complaint->after = status < 0;
    if (status == 0 && (status = directories_finish(&to->memory, to->root, &name)) < 0) {
        snprintf(entry->name, sizeof(entry->name), "%s", name);
        failed(error);
    }
    return status;
}

// Nothing is done before it is on its disk: only then is it known whether that has room for it.
static int finish(struct unpacking *to, struct entry *entry, struct complaint *complaint) {
    if (syncfs(to->root) == 0)
        return 0;
    complaint->after = false;
    snprintf(entry->name, sizeof(entry->name), "%s", to->how->prefix);
    return failed(&complaint->what);
}

int unpack(struct input *in, const struct unpack_how *how, struct entry *entry,
           struct complaint *complaint) {
    static struct unpacking to; // its table is too large for a small stack
    entry->name[0] = 0;
    complaint->after = false;
    to = (struct unpacking){.in = in, .how = how};
    to.root = open(how->prefix, O_DIRECTORY | O_CLOEXEC);
    if (to.root < 0) {
        snprintf(entry->name, sizeof(entry->name), "%s", how->prefix);
        return failed(&complaint->what);
    }
    umask(0);
    int status = unpack_all(&to, entry, complaint);
    if (status == 0)
        status = finish(&to, entry, complaint);
    memory_free(&to.memory);
    close(to.root);
    return status;
}
