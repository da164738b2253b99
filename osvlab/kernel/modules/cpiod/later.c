// What unpacking has to remember: names of files that have more of them, and the times of
// directories, which every file that is put into them changes. They get theirs when all is there.
//
// Invariant: a list is in the order in which the entries came, the last one first; so a directory
// comes before the one that it is in, and giving it its time does not change that of its parent.

#include "later.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place.h"

struct remembered {
    struct remembered *next;
    unsigned inode, mtime;
    char name[];
};

static bool remember(struct remembered **list, const struct entry *entry) {
    size_t size = strlen(entry->name) + 1;
    struct remembered *found = malloc(sizeof(*found) + size);
    if (!found)
        return false;
    found->inode = entry->inode;
    found->mtime = entry->mtime;
    memcpy(found->name, entry->name, size);
    found->next = *list;
    *list = found;
    return true;
}

const char *links_first(const struct memory *memory, unsigned inode) {
    const struct remembered *link = memory->links[inode % LINK_BUCKETS];
    for (; link; link = link->next)
        if (link->inode == inode)
            return link->name;
    return NULL;
}

bool links_add(struct memory *memory, const struct entry *entry) {
    return remember(&memory->links[entry->inode % LINK_BUCKETS], entry);
}

bool directories_add(struct memory *memory, const struct entry *entry) {
    return remember(&memory->directories, entry);
}

int directories_finish(struct memory *memory, int root, const char **name) {
    for (const struct remembered *found = memory->directories; found; found = found->next) {
        const struct timespec times[2] = {{.tv_sec = found->mtime}, {.tv_sec = found->mtime}};
        const char *last;
        *name = found->name;
        int directory = place_open(root, found->name, &last);
        if (directory < 0)
            return -1;
        int status = utimensat(directory, *last ? last : ".", times, AT_SYMLINK_NOFOLLOW);
        int error = errno;
        close(directory);
        errno = error;
        if (status < 0)
            return -1;
    }
    return 0;
}

static void release(struct remembered *list) {
    while (list) {
        struct remembered *next = list->next;
        free(list);
        list = next;
    }
}

void memory_free(struct memory *memory) {
    for (int i = 0; i < LINK_BUCKETS; i++)
        release(memory->links[i]);
    release(memory->directories);
    *memory = (struct memory){0};
}
