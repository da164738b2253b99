// The tool's commands on files of the open dataset.

#include "zfs_tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Paths

struct place {
    uint64_t directory;
    const char *name;
    size_t length;
};

static int find(const char *path, size_t length, uint64_t *object) {
    *object = zfs_root(dataset);
    while (length > 0) {
        const char *slash = memchr(path, '/', length);
        size_t part = slash == NULL ? length : (size_t)(slash - path);
        int status = part == 0 ? 0 : zfs_lookup(dataset, *object, path, part, object);
        if (status < 0)
            return status;
        path += part + (slash != NULL);
        length -= part + (slash != NULL);
    }
    return 0;
}

static int find_place(const char *path, struct place *out) {
    const char *slash = strrchr(path, '/');
    out->name = slash == NULL ? path : slash + 1;
    out->length = strlen(out->name);
    return find(path, slash == NULL ? 0 : (size_t)(slash - path), &out->directory);
}

static int find_path(const char *path, uint64_t *object) {
    return find(path, strlen(path), object);
}

// --- Files

struct listing {
    struct zfs_reader reader;
    uint64_t left, next;
};

static bool list_entry(struct zfs_reader *self, uint64_t next, uint64_t object, uint32_t type,
                       const char *name, size_t length) {
    struct listing *listing = (struct listing *)self;
    if (listing->left-- == 0)
        return false;
    listing->next = next;
    printf("%" PRIu64 "\t%o\t%.*s\n", object, type, (int)length, name);
    return true;
}

// ls PATH [AT_MOST POSITION]: with these, the last line is the position to go on from.
static int command_ls(void) {
    struct listing listing = {{list_entry}, word_count > 2 ? number(2) : UINT64_MAX, number(3)};
    uint64_t directory;
    int status = find_path(words[1], &directory);
    if (status == 0)
        status = zfs_read_directory(dataset, directory, number(3), &listing.reader);
    if (status == 0 && word_count > 2)
        printf("%" PRIu64 "\n", listing.next);
    return status;
}

static int command_stat(void) {
    struct zfs_attributes a;
    uint64_t object;
    int status = find_path(words[1], &object);
    if (status == 0)
        status = zfs_attributes(dataset, object, &a);
    if (status == 0)
        printf("%" PRIu64 " %o %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %" PRIu64
               "\n",
               object, a.mode, a.owner, a.group, a.links, a.size, a.modified, a.stored, a.record,
               a.parent);
    return status;
}

static int command_get(void) {
    static char part[300000];
    uint64_t object, at = 0;
    int status = find_path(words[1], &object);
    if (status < 0)
        return status;
    FILE *out = fopen(words[2], "wb");
    if (out == NULL)
        return -errno;
    long got;
    while ((got = zfs_read(dataset, object, at, part, sizeof(part))) > 0) {
        fwrite(part, 1, (size_t)got, out);
        at += (uint64_t)got;
    }
    fclose(out);
    return (int)got;
}

static int write_all(uint64_t object, uint64_t at, const char *data, size_t size) {
    while (size > 0) {
        long done = zfs_write(dataset, object, at, data, size);
        if (done == -ENOSPC && zfs_needs_sync(pool)) {
            int status = zfs_sync(pool);
            if (status < 0)
                return status;
            done = zfs_write(dataset, object, at, data, size);
        }
        if (done <= 0)
            return done < 0 ? (int)done : -EIO;
        at += (uint64_t)done;
        data += done;
        size -= (size_t)done;
        if (zfs_dirty_bytes(pool) > 8 << 20) {
            int status = zfs_sync(pool);
            if (status < 0)
                return status;
        }
    }
    return 0;
}

// put PATH HOST [OFFSET]: the file is made if it is not there.
static int command_put(void) {
    static char part[300000];
    struct place place;
    uint64_t object, at = number(3);
    struct zfs_new new = {.mode = 0100644};
    int status = find_place(words[1], &place);
    if (status == 0)
        status = zfs_lookup(dataset, place.directory, place.name, place.length, &object);
    if (status == -ENOENT)
        status = zfs_create(dataset, place.directory, place.name, place.length, &new, &object);
    if (status < 0)
        return status;
    FILE *in = fopen(words[2], "rb");
    if (in == NULL)
        return -errno;
    size_t size;
    while (status == 0 && (size = fread(part, 1, sizeof(part), in)) > 0) {
        status = write_all(object, at, part, size);
        at += size;
    }
    fclose(in);
    return status;
}

static int command_truncate(void) {
    uint64_t object;
    int status = find_path(words[1], &object);
    return status < 0 ? status : zfs_truncate(dataset, object, number(2));
}

// make PATH MODE(octal) [TARGET]
static int command_make(void) {
    struct place place;
    struct zfs_new new = {.mode = (uint32_t)strtoul(words[2], NULL, 8),
                          .target = word_count > 3 ? words[3] : NULL};
    uint64_t object;
    int status = find_place(words[1], &place);
    return status < 0
               ? status
               : zfs_create(dataset, place.directory, place.name, place.length, &new, &object);
}

// many DIRECTORY PREFIX FROM TO: empty files, PREFIX and a number
static int command_many(void) {
    struct zfs_new new = {.mode = 0100644};
    uint64_t directory, object;
    char name[300];
    int status = find_path(words[1], &directory);
    for (uint64_t i = number(3); status == 0 && i < number(4); i++) {
        int length = snprintf(name, sizeof(name), "%s%" PRIu64, words[2], i);
        status = zfs_create(dataset, directory, name, (size_t)length, &new, &object);
        if (status == 0 && zfs_dirty_bytes(pool) > 8 << 20)
            status = zfs_sync(pool);
    }
    return status;
}

static int command_readlink(void) {
    char target[4097];
    uint64_t object;
    long status = find_path(words[1], &object);
    if (status == 0)
        status = zfs_read_link(dataset, object, target, sizeof(target) - 1);
    if (status < 0)
        return (int)status;
    printf("%.*s\n", (int)status, target);
    return 0;
}

static int command_rm(void) {
    struct place place;
    int status = find_place(words[1], &place);
    return status < 0
               ? status
               : zfs_remove(dataset, place.directory, place.name, place.length, number(2) != 0);
}

static int command_link(void) {
    struct place place;
    uint64_t object;
    int status = find_path(words[1], &object);
    if (status == 0)
        status = find_place(words[2], &place);
    return status < 0 ? status
                      : zfs_link(dataset, place.directory, place.name, place.length, object);
}

static int command_rename(void) {
    struct place from, to;
    int status = find_place(words[1], &from);
    if (status == 0)
        status = find_place(words[2], &to);
    return status < 0 ? status
                      : zfs_rename(dataset, from.directory, from.name, from.length, to.directory,
                                   to.name, to.length, number(3) != 0);
}

static int command_forget(void) {
    return zfs_forget(dataset, number(1));
}

// seek PATH OFFSET HOLE
static int command_seek(void) {
    uint64_t object, offset = number(2);
    int status = find_path(words[1], &object);
    if (status == 0)
        status = zfs_seek_data(dataset, object, &offset, number(3) != 0);
    if (status == 0)
        printf("%" PRIu64 "\n", offset);
    return status;
}

// set PATH WHICH MODE(octal) OWNER GROUP ACCESSED MODIFIED
static int command_set(void) {
    struct zfs_attributes a = {.mode = word_count > 3 ? (uint32_t)strtoul(words[3], NULL, 8) : 0,
                               .owner = (uint32_t)number(4),
                               .group = (uint32_t)number(5),
                               .accessed = number(6),
                               .modified = number(7)};
    uint64_t object;
    int status = find_path(words[1], &object);
    return status < 0 ? status : zfs_set_attributes(dataset, object, (unsigned)number(2), &a);
}

const struct command file_commands[] = {
    {"ls", 2, A_DATASET, command_ls},
    {"stat", 2, A_DATASET, command_stat},
    {"get", 3, A_DATASET, command_get},
    {"put", 3, A_DATASET, command_put},
    {"truncate", 3, A_DATASET, command_truncate},
    {"make", 3, A_DATASET, command_make},
    {"readlink", 2, A_DATASET, command_readlink},
    {"rm", 2, A_DATASET, command_rm},
    {"link", 3, A_DATASET, command_link},
    {"rename", 3, A_DATASET, command_rename},
    {"forget", 2, A_DATASET, command_forget},
    {"seek", 4, A_DATASET, command_seek},
    {"set", 4, A_DATASET, command_set},
    {"many", 5, A_DATASET, command_many},
    {0},
};
