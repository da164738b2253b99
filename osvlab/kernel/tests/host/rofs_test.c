// ROFS as a host program: prints the tree of an image, or mounts thousands of damaged ones.
//
//   rofs_test tree IMAGE [PAGES]       a line for everything in it, with a checksum of the data
//   rofs_test damage IMAGE COUNT SEED  every damaged copy must mount or not, and never crash
//   rofs_test cut IMAGE                every length of the image, in steps

#include "files_shim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "syscalls_files.h"

#define DEPTH_MAX 200
#define ENTRIES_MAX 100000

static bool printing;
static unsigned entries;
static u64 seed;

static u64 dice(u64 sides) { // xorshift64*
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545F4914F6CDD1DUL % sides;
}

static u64 checksum(const char *path) {
    static u8 buffer[10000];
    u64 sum = 14695981039346656037UL; // FNV-1a
    long fd = sys_open(path, O_RDONLY, 0), size = fd;
    while (fd >= 0 && (size = sys_read((int)fd, buffer, sizeof(buffer))) > 0)
        for (long i = 0; i < size; i++)
            sum = (sum ^ buffer[i]) * 1099511628211UL;
    if (fd >= 0)
        sys_close((int)fd);
    return size < 0 ? 0 : sum;
}

static void visit(const char *path, int depth);

static void visit_directory(const char *path, int depth) {
    long fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0), size;
    char *buffer = malloc(4096), *child = malloc(PATH_MAX);
    while (fd >= 0 && (size = sys_getdents64((int)fd, buffer, 4096)) > 0) {
        for (long at = 0; at < size; at += *(u16 *)(buffer + at + 16)) {
            const char *name = buffer + at + 19;
            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                continue;
            if (snprintf(child, PATH_MAX, "%s/%s", path, name) < PATH_MAX)
                visit(child, depth + 1);
        }
    }
    if (fd >= 0)
        sys_close((int)fd);
    free(buffer);
    free(child);
}

static void visit(const char *path, int depth) {
    struct stat s;
    char target[PATH_MAX] = "";
    u64 sum = 0;
    if (depth > DEPTH_MAX || ++entries > ENTRIES_MAX) {
        fprintf(stderr, "the tree has no end\n");
        abort();
    }
    if (sys_lstat(path, &s) < 0)
        return;
    if (S_ISREG(s.st_mode))
        sum = checksum(path);
    if (S_ISLNK(s.st_mode))
        sys_readlink(path, target, sizeof(target) - 1);
    if (printing)
        printf("%o %ld %016lx %s %s\n", s.st_mode, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size, sum,
               path, target);
    if (S_ISDIR(s.st_mode))
        visit_directory(path, depth);
}

// Mounts the disk, walks through it, unmounts it. True if it could be mounted.
static bool try_disk(u8 *bytes, size_t size) {
    shim_disks_forget();
    shim_disk("vblk0.1", bytes, size);
    if (sys_mount("/dev/vblk0.1", "/mnt", "rofs", 0, NULL) < 0)
        return false;
    entries = 0;
    visit_directory("/mnt", 0);
    shim_memory_fails_after(-1);
    long status = sys_umount2("/mnt", 0);
    if (status < 0) {
        fprintf(stderr, "cannot unmount: %ld\n", status);
        abort();
    }
    return true;
}

static u64 interesting(void) {
    static const u64 values[] = {0,      1,         2,          511,       512,       0x7fff,
                                 0xffff, 1UL << 31, UINT32_MAX, 1UL << 55, INT64_MAX, UINT64_MAX};
    return values[dice(ARRAY_SIZE(values))];
}

// Changes a few fields or bytes, mostly in the superblock and the structure area.
static void damage(u8 *bytes, size_t size, u64 structure) {
    for (u64 n = 1 + dice(4); n > 0; n--) {
        u64 kind = dice(8), at = kind == 0   ? dice(64)
                                 : kind == 1 ? dice(size)
                                             : structure + dice(size - structure);
        switch (dice(4)) {
        case 0:
            bytes[at] ^= (u8)(1U << dice(8));
            break;
        case 1:
            bytes[at] = (u8)dice(256);
            break;
        default: {
            u64 value = dice(2) ? interesting() : dice(200);
            size_t width = 1UL << dice(4);
            memcpy(bytes + at, &value, MIN(width, size - at));
        }
        }
    }
}

static void test_damage(const u8 *image, size_t size, unsigned long count) {
    u64 structure;
    memcpy(&structure, image + 24, sizeof(structure));
    structure *= 512;
    unsigned long mounted = 0;
    size_t used = shim_pages_used();
    for (unsigned long i = 0; i < count; i++) {
        u64 start = seed;
        u8 *copy = malloc(size);
        memcpy(copy, image, size);
        damage(copy, size, structure);
        if (dice(10) == 0)
            shim_memory_fails_after((long)dice(200));
        mounted += try_disk(copy, size);
        shim_memory_fails_after(-1);
        free(copy);
        size_t now = shim_pages_used();
        if (now > used + 8) { // the page cache keeps what its entries are made of
            fprintf(stderr, "seed %lu: %zu pages leaked\n", start, now - used);
            abort();
        }
        used = MAX(used, now);
    }
    printf("%lu of %lu could be mounted\n", mounted, count);
}

static void test_cut(u8 *image, size_t size) {
    unsigned mounted = 0;
    for (size_t length = 0; length < size; length += MAX(512UL, size / 400 / 512 * 512)) {
        u8 *copy = malloc(length + 1);
        memcpy(copy, image, length);
        mounted += try_disk(copy, length);
        free(copy);
    }
    printf("%u mounted\n", mounted);
    if (mounted > 0)
        abort();
}

int main(int count, char **arguments) {
    assert(count >= 3);
    FILE *file = fopen(arguments[2], "rb");
    assert(file != NULL);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    u8 *image = malloc(size);
    rewind(file);
    assert(fread(image, 1, size, file) == size);
    fclose(file);

    bool tree = strcmp(arguments[1], "tree") == 0;
    shim_start(tree && count > 3 ? strtoul(arguments[3], NULL, 10) : 8192);
    assert(sys_mkdir("/mnt", 0755) == 0);
    if (tree) {
        printing = true;
        bool mounted = try_disk(image, size);
        fprintf(stderr, "%lu requests\n", shim_requests);
        free(image);
        return !mounted;
    }
    if (strcmp(arguments[1], "damage") == 0) {
        assert(count == 5);
        seed = strtoull(arguments[4], NULL, 10) * 2 + 1;
        test_damage(image, size, strtoul(arguments[3], NULL, 10));
    } else {
        test_cut(image, size);
    }
    free(image);
    return 0;
}
