// A whole pool with damage that checksums do not show, and everything a kernel does with it.
//
// An input is a list of steps (steps.h): damage to what blocks hold once they are read and unpacked,
// and calls. All damage is there from the beginning, as on a disk. The pools are real ones, whose
// files the environment variable POOLS names, divided by colons; the last step says which is meant.

#include "fuzz.h"

#include <string.h>

#include "damaged_pool.h"
#include "zfs.h"
#include "zfs_shim.h"

enum { MEMORY_MAX = 64 << 20 };

enum what {
    LIST = DAMAGE_KINDS,
    READ,
    WRITE,
    RESIZE,
    MAKE,
    REMOVE,
    MOVE,
    POOL,
    FAIL,
};
_Static_assert(FAIL + 1 == STEP_KINDS, "damage, and these");

// --- What a kernel does

static struct zfs_disk *disk;
static struct zfs_pool *pool;
static struct zfs_dataset *dataset;

static struct entries {
    struct zfs_reader reader;
    uint64_t directory;
    size_t count;
    struct entry {
        uint64_t directory, object;
        uint32_t type;
        size_t length;
        char name[256];
    } list[64];
} entries;

static bool keep_entry(struct zfs_reader *reader, uint64_t next, uint64_t object, uint32_t type,
                       const char *name, size_t length) {
    struct entries *all = (struct entries *)reader;
    (void)next;
    if (all->count == sizeof(all->list) / sizeof(*all->list) || length > 255)
        return false;
    struct entry *entry = &all->list[all->count++];
    *entry = (struct entry){
        .directory = all->directory, .object = object, .type = type, .length = length};
    memcpy(entry->name, name, length);
    return true;
}

// What was there stays, so that steps can move things between directories.
static void list(uint64_t directory, uint64_t position) {
    if (entries.count > 48)
        entries.count = 32;
    entries.reader.entry = keep_entry;
    entries.directory = directory;
    zfs_read_directory(dataset, directory, position, &entries.reader);
}

static const struct entry *entry_of(uint16_t number) {
    return &entries.list[number % entries.count];
}

static uint64_t object_of(const struct step *step) {
    return step->how & 0x80 ? step->value : entry_of(step->block)->object;
}

static char buffer[160000];

static void do_read(const struct step *step) {
    uint64_t object = object_of(step), place = step->value, found;
    const struct entry *entry = entry_of(step->block);
    struct zfs_attributes attributes;
    zfs_lookup(dataset, entry->directory, entry->name, entry->length, &found);
    if (zfs_attributes(dataset, object, &attributes) == 0 && attributes.size > 0)
        place %= attributes.size + 10;
    long got = zfs_read(dataset, object, place, buffer, (size_t)step->other * 2);
    must(got <= step->other * 2);
    zfs_seek_data(dataset, object, &place, step->how & 1);
    must(zfs_read_link(dataset, object, buffer, step->at) <= step->at);
}

static void do_write(const struct step *step) {
    zfs_write(dataset, entry_of(step->block)->object, step->value, buffer, (size_t)step->other * 2);
}

static void do_resize(const struct step *step) {
    struct zfs_attributes attributes = {.mode = step->other, .owner = step->at, .modified = ~0ul};
    if (step->how & 1)
        zfs_truncate(dataset, object_of(step), step->value);
    else
        zfs_set_attributes(dataset, object_of(step), step->how >> 1, &attributes);
}

static void make_one(const struct step *step) {
    static const uint32_t modes[] = {0100644, 040755, 0120777, 020600};
    char name[256], target[1024];
    size_t length = 1 + step->at % 254;
    memset(name, 'a' + step->other % 26, length);
    memcpy(name, &(uint16_t){step->other | 0x4040}, length < 2 ? 1 : 2);
    memset(target, 't', sizeof(target));
    target[step->value % sizeof(target)] = 0;
    struct zfs_new new = {.mode = modes[step->how & 3], .device = step->value, .target = target};
    const struct entry *entry = entry_of(step->block);
    uint64_t object, directory = entry->type == 4 ? entry->object : entry->directory;
    if (zfs_create(dataset, directory, name, length, &new, &object) == 0 && (step->how & 3) == 0)
        zfs_write(dataset, object, step->value % 300000, buffer, step->at);
}

// So many that tables have to grow.
static void make_many(const struct step *step) {
    struct zfs_new new = {.mode = 0100644};
    const struct entry *entry = entry_of(step->block);
    uint64_t object, directory = entry->type == 4 ? entry->object : entry->directory;
    char name[100];
    for (unsigned i = 0; i < step->at % 400; i++) {
        int length = snprintf(name, sizeof(name),
                              "%u, a name of %u and so long that it fills tables", i, step->other);
        zfs_create(dataset, directory, name, (size_t)length, &new, &object);
    }
}

static void do_make(const struct step *step) {
    if (step->how & 0x10)
        make_many(step);
    else
        make_one(step);
}

static void do_remove(const struct step *step) {
    const struct entry *entry = entry_of(step->block);
    zfs_remove(dataset, entry->directory, entry->name, entry->length, step->how & 1);
    if (step->how & 2)
        zfs_forget(dataset, entry->object);
}

static void do_move(const struct step *step) {
    const struct entry *entry = entry_of(step->block), *to = entry_of(step->other);
    if (step->how & 1)
        zfs_link(dataset, to->directory, "linked", 6, object_of(step));
    else
        zfs_rename(dataset, entry->directory, entry->name, entry->length,
                   step->how & 2 ? to->directory : to->object, step->how & 2 ? to->name : "moved",
                   step->how & 2 ? to->length : 5, step->how & 4);
}

static bool open_pool(bool read_only) {
    if (zfs_import(disk, 1, read_only ? ZFS_READ_ONLY : 0, &pool) < 0)
        return false;
    struct zfs_space space;
    entries.count = 0;
    if (zfs_dataset_open(pool, zfs_pool_name(pool), &dataset) == 0) {
        zfs_space(dataset, &space);
        list(zfs_root(dataset), 0);
    }
    return true;
}

static void close_pool(bool export) {
    if (dataset != NULL)
        zfs_dataset_close(dataset);
    dataset = NULL;
    if (export)
        zfs_export(pool);
    else
        zfs_abandon(pool);
}

static bool do_pool(const struct step *step) {
    struct zfs_dataset *other;
    switch (step->how % 5) {
    case 0:
        if (zfs_dataset_open(pool, "p/inner", &other) == 0)
            zfs_dataset_close(other);
        break;
    case 1:
        zfs_dataset_create(pool, "p/more");
        break;
    case 2:
        zfs_trim(pool);
        break;
    case 3:
        close_pool(step->how & 0x80);
        return open_pool(step->how & 0x40);
    default:
        zfs_sync(pool);
    }
    return true;
}

static void do_fail(const struct step *step) {
    if (step->how % 5 == 0)
        shim_fail_every = (long)(step->value % 500);
    else if (step->how % 5 == 1)
        pool_fails_after((long)(step->value % 500), -1);
    else if (step->how % 5 == 2)
        pool_fails_after(-1, (long)(step->value % 100));
    else if (step->how % 5 == 3)
        shim_cache(step->value % (1 << 22));
    else
        pool_largest_piece(step->value % 128 << 9);
}

// False: the pool is gone.
static bool take(const struct step *step) {
    static void (*const calls[STEP_KINDS])(const struct step *) = {
        [READ] = do_read, [WRITE] = do_write,   [RESIZE] = do_resize,
        [MAKE] = do_make, [REMOVE] = do_remove, [MOVE] = do_move,
    };
    unsigned what = step_kind(step);
    if (what == FAIL)
        do_fail(step);
    else if (what == POOL)
        return do_pool(step);
    else if (what == LIST && dataset != NULL && entries.count > 0)
        list(object_of(step), step->how & 1 ? step->value : 0);
    else if (what > LIST && dataset != NULL && entries.count > 0)
        calls[what](step);
    return true;
}

static void run(const struct step *steps, size_t count) {
    bool is_open = open_pool(false);
    for (size_t i = 0; i < count && is_open; i++)
        is_open = take(&steps[i]);
    if (is_open)
        close_pool(count % 2);
}

// --- libFuzzer

// Reads all that there is, to see what can be damaged.
static void look_around(void) {
    static const struct step look[] = {{.what = LIST}, {.what = READ, .other = 100}};
    pool_discover(true);
    must(open_pool(false));
    must(entries.count > 0);
    for (uint16_t i = 0; i < entries.count; i++) {
        struct step step = look[entries.list[i].type != 4];
        step.block = i;
        take(&step);
    }
    take(&(struct step){.what = POOL, .how = 0});
    close_pool(true);
    pool_discover(false);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const char *names = getenv("POOLS");
    must(names != NULL);
    shim_start(1);
    shim_quiet = getenv("LOUD") == NULL;
    size_t count = pools_open(names);
    for (size_t i = 0; i < count; i++) {
        disk = pool_disk(i, NULL, 0);
        look_around();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct step steps[STEPS_MAX];
    size_t count = size / sizeof(*steps);
    if (count == 0 || count > STEPS_MAX)
        return -1;
    memcpy(steps, data, count * sizeof(*steps));
    disk = pool_disk(steps[count - 1].other, steps, count);
    shim_fail_every = 0;
    shim_cache(0);
    shim_memory_most = 0;
    shim_start(1);
    run(steps, count);
    must(shim_memory == 0);
    must(shim_memory_most < MEMORY_MAX);
    return 0;
}
