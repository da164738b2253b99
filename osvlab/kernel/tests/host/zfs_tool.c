// The ZFS module as a program: commands from stdin, one a line, on a pool in an image file. Each
// answers with lines of its own, if it has any, and then "ok" or "error N".
//
// Fields are divided by tabs, so that names may have blanks. Paths are of the open dataset; HOST is
// a file outside.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "zfs_shim.h"

static struct file_disk disk;
static bool disk_open;
static struct zfs_pool *pool;
static struct zfs_dataset *dataset;
static char *words[8];
static int word_count;

static uint64_t number(int index) {
    return index < word_count ? strtoull(words[index], NULL, 0) : 0;
}

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

// --- Pools

static int command_open(void) {
    if (disk_open)
        file_disk_close(&disk);
    file_disk_open(&disk, words[1]);
    disk_open = true;
    int status = zfs_import(&disk.disk, 1, number(2) ? ZFS_READ_ONLY : 0, &pool);
    if (status < 0)
        pool = NULL;
    else
        printf("%s\n", zfs_pool_name(pool));
    return status;
}

static int command_format(void) {
    struct file_disk new;
    struct zfs_format format = {words[2], (unsigned)number(3), (unsigned)number(4)};
    file_disk_open(&new, words[1]);
    int status = zfs_format(&new.disk, &format);
    file_disk_close(&new);
    return status;
}

// format-cut IMAGE NAME WRITES: the power is gone after so many.
static int command_format_cut(void) {
    struct file_disk new;
    struct zfs_format format = {words[2], 9, 15};
    file_disk_open(&new, words[1]);
    file_disk_cut(&new, number(3), number(3));
    int status = zfs_format(&new.disk, &format);
    file_disk_close(&new);
    return status;
}

// feature LIST NAME USES
static int command_feature(void) {
    uint64_t zap, uses = number(3);
    int status = zap_lookup(pool->mos, 1, words[1], 8, 1, &zap);
    return status < 0 ? status : zap_update(pool->mos, zap, words[2], 8, 1, &uses);
}

static void close_dataset(void) {
    if (dataset != NULL)
        zfs_dataset_close(dataset);
    dataset = NULL;
}

static int command_dataset(void) {
    close_dataset();
    return zfs_dataset_open(pool, words[1], &dataset);
}

static int command_create_dataset(void) {
    return zfs_dataset_create(pool, words[1]);
}

static int command_sync(void) {
    return zfs_sync(pool);
}

static int command_export(void) {
    close_dataset();
    int status = zfs_export(pool);
    pool = NULL;
    return status;
}

static int command_abandon(void) {
    close_dataset();
    zfs_abandon(pool);
    pool = NULL;
    return 0;
}

static int command_cut(void) {
    file_disk_cut(&disk, number(1), number(2));
    return 0;
}

static int command_memory(void) {
    printf("%zu %zu\n", shim_memory, shim_memory_most);
    shim_fail_every = (long)number(1);
    return 0;
}

static int command_disk(void) {
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", disk.reads, disk.writes, disk.flushes);
    return 0;
}

static int command_space(void) {
    struct zfs_space space;
    zfs_space(dataset, &space);
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", space.total, space.used, space.free,
           space.files);
    return 0;
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

static int command_cache(void) {
    shim_cache(number(1));
    return 0;
}

// --- Commands

enum need { NOTHING, A_POOL, A_DATASET };

static const struct command {
    const char *name;
    int words;
    enum need need;
    int (*run)(void);
} commands[] = {
    {"open", 2, NOTHING, command_open},
    {"format", 5, NOTHING, command_format},
    {"format-cut", 4, NOTHING, command_format_cut},
    {"feature", 4, A_POOL, command_feature},
    {"memory", 1, NOTHING, command_memory},
    {"sync", 1, A_POOL, command_sync},
    {"export", 1, A_POOL, command_export},
    {"abandon", 1, A_POOL, command_abandon},
    {"dataset", 2, A_POOL, command_dataset},
    {"create-dataset", 2, A_POOL, command_create_dataset},
    {"cut", 2, A_POOL, command_cut},
    {"disk", 1, A_POOL, command_disk},
    {"space", 1, A_DATASET, command_space},
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
    {"cache", 2, NOTHING, command_cache},
    {"many", 5, A_DATASET, command_many},
};

static int run_line(char *line) {
    line[strcspn(line, "\n")] = 0;
    word_count = 0;
    for (char *at = line; at != NULL && word_count < 8;)
        words[word_count++] = strsep(&at, "\t");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct command *command = &commands[i];
        if (strcmp(command->name, words[0]) != 0)
            continue;
        if (word_count < command->words || (command->need >= A_POOL && pool == NULL) ||
            (command->need == A_DATASET && dataset == NULL))
            return -EINVAL;
        return command->run();
    }
    return -ENOSYS;
}

int main(int argc, char **argv) {
    static char line[20000];
    shim_start(argc > 1 ? strtoull(argv[1], NULL, 0) : 1);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        int status = run_line(line);
        if (status < 0)
            printf("error %d\n", -status);
        else
            printf("ok\n");
        fflush(stdout);
    }
    if (pool != NULL)
        command_abandon();
    if (disk_open)
        file_disk_close(&disk);
    if (shim_memory != 0)
        fprintf(stderr, "%zu bytes of memory were not given back\n", shim_memory);
    return shim_memory != 0;
}
