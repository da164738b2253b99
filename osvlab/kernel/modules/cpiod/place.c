// Finding the directory of an entry below a root, component by component.
//
// Invariant: `path` is a list of components without "." and "..", each a real directory below the
// root: symbolic links on the way are read and their text is put in their place, absolute ones
// beginning at the root again. So no name and no link leads outside. (What openat2(2) calls
// RESOLVE_IN_ROOT; done by hand, because directories have to be made on the way.)

#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MOST 40

// Takes the first component off a path. False: there is none left.
static bool component(char **rest, char **out) {
    *out = *rest + strspn(*rest, "/");
    size_t length = strcspn(*out, "/");
    *rest = *out + length;
    if (**rest)
        *(*rest)++ = 0;
    return length > 0;
}

// The directory of a name below another, made if it is not there. -1 with errno; ELOOP: a link.
static int enter(int directory, const char *name) {
    int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int below = openat(directory, name, flags);
    if (below < 0 && errno == ENOENT && mkdirat(directory, name, 0755) == 0)
        below = openat(directory, name, flags);
    return below;
}

// Replaces what is left of a path by a link's text followed by it.
static bool follow(int directory, const char *link, char path[PATH_MAX], char **rest) {
    char text[PATH_MAX], joined[2 * PATH_MAX];
    ssize_t size = readlinkat(directory, link, text, sizeof(text) - 1);
    if (size < 0)
        return false;
    text[size] = 0;
    size_t length = (size_t)snprintf(joined, sizeof(joined), "%s/%s", text, *rest);
    if (length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(path, joined, length + 1);
    *rest = path;
    return true;
}

// One step from a directory, which is closed. The next one, or -1 with errno.
static int step(int root, int here, const char *name, char path[PATH_MAX], char **rest,
                int *links) {
    int next = enter(here, name);
    if (next < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        if (++*links > LINKS_MOST)
            errno = ELOOP;
        else if (follow(here, name, path, rest))
            next = **rest == '/' ? dup(root) : dup(here);
        else if (errno == EINVAL) // no link either
            errno = ENOTDIR;
    }
    int error = errno;
    close(here);
    errno = error;
    return next;
}

static bool leads_up(const char *name) {
    for (const char *at = name; (at = strstr(at, "..")) != NULL; at += 2)
        if ((at == name || at[-1] == '/') && (at[2] == 0 || at[2] == '/'))
            return true;
    return false;
}

int place_open(int root, const char *name, const char **last) {
    char path[PATH_MAX], *rest = path, *part;
    const char *slash = strrchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : 0;
    int links = 0;

    *last = slash ? slash + 1 : name;
    if (length >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, name, length);
    path[length] = 0;
    int here = leads_up(name) ? (errno = EXDEV, -1) : dup(root);
    while (here >= 0 && component(&rest, &part)) {
        if (!strcmp(part, "..")) // out of a link
            return close(here), errno = EXDEV, -1;
        if (strcmp(part, "."))
            here = step(root, here, part, path, &rest, &links);
    }
    return here;
}
