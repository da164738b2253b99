// /sys: the few files that libraries look for to count processors.

#include "pseudo.h"

#define FILE (S_IFREG | 0444)
#define DIRECTORY (S_IFDIR | 0555)

static void write_online(struct text *text, int pid) {
    (void)pid;
    text_add(text, "0\n");
}

static void write_cpumap(struct text *text, int pid) {
    (void)pid;
    text_add(text, "1\n");
}

static void write_distance(struct text *text, int pid) {
    (void)pid;
    text_add(text, "10\n");
}

static void write_meminfo(struct text *text, int pid) {
    struct memory_statistics memory;
    (void)pid;
    memory_statistics(&memory);
    text_add(text, "Node 0 MemTotal: %lu kB\nNode 0 MemFree: %lu kB\n", memory.total / 1024,
             memory.free / 1024);
}

enum { ROOT, DEVICES, SYSTEM, CPU, NODE, NODE0 };

static const struct pseudo_entry entries[] = {
    [ROOT] = {"", 0, DIRECTORY, NULL},
    [DEVICES] = {"devices", ROOT, DIRECTORY, NULL},
    [SYSTEM] = {"system", DEVICES, DIRECTORY, NULL},
    [CPU] = {"cpu", SYSTEM, DIRECTORY, NULL},
    [NODE] = {"node", SYSTEM, DIRECTORY, NULL},
    [NODE0] = {"node0", NODE, DIRECTORY, NULL},
    {"online", CPU, FILE, write_online},
    {"possible", CPU, FILE, write_online},
    {"present", CPU, FILE, write_online},
    {"online", NODE, FILE, write_online},
    {"meminfo", NODE0, FILE, write_meminfo},
    {"cpumap", NODE0, FILE, write_cpumap},
    {"distance", NODE0, FILE, write_distance},
};

static const struct pseudo_tree tree = {.entries = entries, .count = ARRAY_SIZE(entries)};

static int sysfs_mount(struct mount *mount, struct block_device *device) {
    (void)device;
    return pseudo_mount(mount, &tree);
}

const struct filesystem sysfs = {.name = "sysfs", .magic = 0x62656572, .mount = sysfs_mount};
