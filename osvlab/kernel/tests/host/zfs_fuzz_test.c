// Pools with damage that checksums do not show: what block_read returns is changed by chance after
// it was verified, and labels are changed before (the linker puts our functions in between). Then
// everything a kernel does with a pool is done. It may fail in any way; it must not crash, hang or
// take more memory than a whole pool does.
//
// zfs_fuzz_test IMAGE ROUNDS SEED

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "label.h"
#include "zfs.h"
#include "zfs_shim.h"

enum { MEMORY_MAX = 64 << 20, ENTRIES_MAX = 3000, SECONDS = 20 };

static uint64_t dice;
static unsigned chance; // one block in so many is damaged; 0: none
static unsigned labels; // the same of labels
static uint64_t damaged;

static uint64_t roll(uint64_t sides) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (dice >> 11) % sides;
}

static void damage(uint8_t *data, size_t size) {
    static const uint64_t values[] = {0,      1,      2,        0x7f, 0x80, 0xff,
                                      0x7fff, 0xffff, 1u << 31, ~0u,  ~0ul};
    damaged++;
    for (uint64_t n = 1 + roll(4); n > 0; n--) {
        size_t width = 1ul << roll(4);
        uint64_t value = roll(2) ? values[roll(11)] : roll(~0ul);
        // Headers and the first entries are where structure is.
        size_t at = (roll(2) ? roll(size < 256 ? size : 256) : roll(size)) / width * width;
        memcpy(data + at, &value, width);
    }
}

int __real_block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer,
                      size_t size);
int __wrap_block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer,
                      size_t size) {
    int status = __real_block_read(pool, pointer, buffer, size);
    if (status == 0 && chance > 0 && roll(chance) == 0)
        damage(buffer, size);
    return status;
}

int __real_config_parse(struct zfs_pool *pool, const struct nvlist *config);
int __wrap_config_parse(struct zfs_pool *pool, const struct nvlist *config) {
    if (labels > 0 && roll(labels) == 0)
        damage((uint8_t *)config->data, 1200);
    return __real_config_parse(pool, config);
}

// --- A disk in memory, forgotten after every round

static struct memory_disk {
    struct zfs_disk disk;
    uint8_t *data;
    int file;
} disk;

static int memory_read(struct zfs_disk *self, uint64_t offset, void *buffer, size_t size) {
    if (offset > self->size || size > self->size - offset)
        return -5;
    memcpy(buffer, disk.data + offset, size);
    return 0;
}

static int memory_write(struct zfs_disk *self, uint64_t offset, const void *data, size_t size) {
    if (offset > self->size || size > self->size - offset)
        return -5;
    memcpy(disk.data + offset, data, size);
    return 0;
}

static int memory_flush(struct zfs_disk *self) {
    (void)self;
    return 0;
}

static void disk_renew(void) {
    if (disk.data != NULL)
        munmap(disk.data, disk.disk.size);
    disk.data = mmap(NULL, disk.disk.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, disk.file, 0);
    if (disk.data == MAP_FAILED)
        exit(2);
}

static void disk_open(const char *path) {
    struct stat info;
    disk.file = open(path, O_RDONLY);
    if (disk.file < 0 || fstat(disk.file, &info) < 0)
        exit(2);
    disk.disk = (struct zfs_disk){(uint64_t)info.st_size, memory_read, memory_write, memory_flush,
                                  "fuzzed"};
}

// --- What a kernel does

struct entry {
    uint64_t object;
    uint32_t type;
    size_t length;
    char name[256];
};

static struct list {
    struct zfs_reader reader;
    unsigned count;
    struct entry entry[ENTRIES_MAX];
} list;

static bool list_entry(struct zfs_reader *self, uint64_t next, uint64_t object, uint32_t type,
                       const char *name, size_t length) {
    struct list *all = (struct list *)self;
    (void)next;
    if (all->count == ENTRIES_MAX || length > 255)
        return false;
    struct entry *entry = &all->entry[all->count++];
    *entry = (struct entry){.object = object, .type = type, .length = length};
    memcpy(entry->name, name, length);
    return true;
}

static void read_entry(struct zfs_dataset *dataset, uint64_t directory, const struct entry *entry) {
    static char buffer[70000];
    struct zfs_attributes attributes;
    uint64_t object, hole = 0;
    zfs_lookup(dataset, directory, entry->name, entry->length, &object);
    if (zfs_attributes(dataset, entry->object, &attributes) < 0)
        return;
    for (int i = 0; i < 3; i++)
        zfs_read(dataset, entry->object, roll(attributes.size + 100), buffer, roll(sizeof(buffer)));
    zfs_seek_data(dataset, entry->object, &hole, true);
    zfs_read_link(dataset, entry->object, buffer, sizeof(buffer));
}

static void change_entry(struct zfs_dataset *dataset, uint64_t directory,
                         const struct entry *entry) {
    static char buffer[200000];
    struct zfs_new new = {.mode = roll(3) ? 0100644 : 040755};
    uint64_t object, offset = roll(300000);
    switch (roll(7)) {
    case 0:
        zfs_remove(dataset, directory, entry->name, entry->length, false);
        break;
    case 1:
        zfs_truncate(dataset, entry->object, roll(300000));
        break;
    case 2:
        if (zfs_create(dataset, directory, "made", 4, &new, &object) == 0)
            zfs_write(dataset, object, offset, buffer, 1 + roll(sizeof(buffer) - 1));
        break;
    case 3:
        zfs_rename(dataset, directory, entry->name, entry->length, directory, "renamed", 7, false);
        break;
    case 4:
        zfs_link(dataset, directory, "linked", 6, entry->object);
        break;
    default:
        zfs_write(dataset, entry->object, offset, buffer, 1 + roll(sizeof(buffer) - 1));
    }
}

static void use_dataset(struct zfs_pool *pool, struct zfs_dataset *dataset) {
    uint64_t directory = zfs_root(dataset);
    struct zfs_space space;
    zfs_space(dataset, &space);
    for (unsigned depth = 0; depth < 6; depth++) {
        uint64_t next = directory;
        list.count = 0;
        list.reader.entry = list_entry;
        zfs_read_directory(dataset, directory, 0, &list.reader);
        for (unsigned i = 0; i < list.count; i++) {
            if (list.entry[i].type == 4 && (next == directory || roll(2)))
                next = list.entry[i].object;
            if (roll(8) == 0)
                read_entry(dataset, directory, &list.entry[i]);
            if (roll(16) == 0)
                change_entry(dataset, directory, &list.entry[i]);
        }
        if (next == directory)
            break;
        directory = next;
        if (roll(3) == 0)
            zfs_sync(pool);
    }
}

static void use_pool(void) {
    struct zfs_pool *pool;
    struct zfs_dataset *dataset;
    unsigned later = chance;
    if (roll(4) > 0)
        chance = 0; // so that most rounds come to files
    int status = zfs_import(&disk.disk, 1, 0, &pool);
    chance = later;
    if (status < 0)
        return;
    if (zfs_dataset_open(pool, zfs_pool_name(pool), &dataset) == 0) {
        use_dataset(pool, dataset);
        zfs_dataset_close(dataset);
    }
    if (roll(8) == 0)
        zfs_dataset_create(pool, "p/more");
    if (roll(2))
        zfs_export(pool);
    else
        zfs_abandon(pool);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    shim_start(1);
    shim_quiet = getenv("LOUD") == NULL;
    disk_open(argv[1]);
    uint64_t rounds = strtoull(argv[2], NULL, 0), seed = strtoull(argv[3], NULL, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        disk_renew();
        dice = (seed + round) * 0x9e3779b97f4a7c15 + 1;
        chance = roll(8) == 0 ? 0 : 1u << roll(9);
        labels = roll(4) == 0;
        alarm(SECONDS);
        use_pool();
        alarm(0);
        if (shim_memory != 0 || shim_memory_most > MEMORY_MAX) {
            fprintf(stderr, "seed %" PRIu64 ": %zu bytes are left, %zu were in use\n", seed + round,
                    shim_memory, shim_memory_most);
            return 1;
        }
    }
    printf("%" PRIu64 " blocks damaged\n", damaged);
    return 0;
}
