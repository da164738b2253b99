// The ZFS module as a program: commands from stdin, one a line, on a pool in an image file. Each
// answers with lines of its own, if it has any, and then "ok" or "error N".
//
// Fields are divided by tabs, so that names may have blanks. Paths are of the open dataset; HOST is
// a file outside.

#include "zfs_tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct zfs_pool *pool;
struct zfs_dataset *dataset;
char *words[8];
int word_count;
static struct file_disk disk;
static bool disk_open;

uint64_t number(int index) {
    return index < word_count ? strtoull(words[index], NULL, 0) : 0;
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

// format IMAGE NAME ASHIFT COMPRESSION [PATH]: what the labels call the disk.
static int command_format(void) {
    struct file_disk new;
    struct zfs_format format = {words[2], (unsigned)number(3), (unsigned)number(4)};
    file_disk_open(&new, words[1]);
    if (word_count > 5)
        new.disk.path = words[5];
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

static int command_cache(void) {
    shim_cache(number(1));
    return 0;
}

// --- Commands

static const struct command pool_commands[] = {
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
    {"cache", 2, NOTHING, command_cache},
    {0},
};

static const struct command *find_command(const struct command *commands) {
    for (; commands->name != NULL; commands++)
        if (strcmp(commands->name, words[0]) == 0)
            return commands;
    return NULL;
}

static int run_line(char *line) {
    line[strcspn(line, "\n")] = 0;
    word_count = 0;
    for (char *at = line; at != NULL && word_count < 8;)
        words[word_count++] = strsep(&at, "\t");
    const struct command *command = find_command(pool_commands);
    if (command == NULL)
        command = find_command(file_commands);
    if (command == NULL)
        return -ENOSYS;
    if (word_count < command->words || (command->need >= A_POOL && pool == NULL) ||
        (command->need == A_DATASET && dataset == NULL))
        return -EINVAL;
    return command->run();
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
