// What the file layer reads of disks: ROFS, and bootfs on a partition. The input is the disk.
//
// Everything on it is read, every directory, file and link; nothing may be left in memory afterwards.

#include "fuzz.h"

#include <string.h>

#include "bootfs.h"
#include "files_shim.h"

enum { PAGES = 4096, DEPTH_MAX = 40, ENTRIES_MAX = 2000, DISK_MAX = 1 << 20 };

static unsigned entries;

static void visit(const char *path, unsigned depth);

static void visit_directory(const char *path, unsigned depth) {
    char buffer[2048], child[PATH_MAX];
    long fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0), size;
    while (fd >= 0 && (size = sys_getdents64((int)fd, buffer, sizeof(buffer))) > 0) {
        for (long at = 0; at < size; at += *(u16 *)(buffer + at + 16)) {
            const char *name = buffer + at + 19;
            bool itself = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
            if (!itself && snprintf(child, PATH_MAX, "%s/%s", path, name) < PATH_MAX)
                visit(child, depth + 1);
        }
    }
    if (fd >= 0)
        sys_close((int)fd);
}

static void visit_file(const char *path, u64 size) {
    static u8 buffer[5000];
    u64 total = 0;
    long fd = sys_open(path, O_RDONLY, 0), got;
    if (fd < 0)
        return;
    while ((got = sys_read((int)fd, buffer, sizeof(buffer))) > 0)
        total += (u64)got;
    must(got < 0 || total == size);
    sys_close((int)fd);
}

static void visit(const char *path, unsigned depth) {
    struct stat s;
    char target[PATH_MAX];
    if (sys_lstat(path, &s) < 0)
        return;
    must(depth < DEPTH_MAX && ++entries < ENTRIES_MAX); // no format has loops
    if (S_ISREG(s.st_mode))
        visit_file(path, (u64)s.st_size);
    else if (S_ISLNK(s.st_mode))
        sys_readlink(path, target, sizeof(target));
    else if (S_ISDIR(s.st_mode))
        visit_directory(path, depth);
}

static void read_rofs(void) {
    if (sys_mount("/dev/vblk0.1", "/mnt", "rofs", 0, NULL) < 0)
        return;
    visit_directory("/mnt", 0);
    shim_memory_fails_after(-1);
    must(sys_umount2("/mnt", 0) == 0);
}

// The kernel unpacks into its first root; here that is another ramfs.
static void read_bootfs(void) {
    struct block_device *device = block_find("vblk0.1");
    struct vnode *root;
    if (!bootfs_is_on(device) || sys_mount("none", "/mnt", "ramfs", 0, NULL) < 0)
        return;
    if (path_find("/mnt", &root) == 0) {
        bootfs_unpack_device(root, device);
        vnode_put(root);
    }
    shim_memory_fails_after(-1);
    visit_directory("/mnt", 0);
    must(sys_umount2("/mnt", 0) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    shim_start(PAGES);
    must(sys_mkdir("/mnt", 0755) == 0);
    return 0;
}

// The first two bytes: after how many allocations memory runs out; 0 and 1: it does not.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static size_t pages_before, objects_before;
    if (size < 2 || size > DISK_MAX)
        return -1;
    long fails_after = data[0] | data[1] << 8;
    size_t disk_size = ALIGN_UP(size - 2, SECTOR_SIZE);
    u8 *disk = calloc(1, disk_size + 1);
    must(disk != NULL);
    memcpy(disk, data + 2, size - 2);
    shim_disks_forget();
    shim_disk("vblk0.1", disk, disk_size);
    entries = 0;
    shim_memory_fails_after(fails_after > 1 ? fails_after : -1);
    read_rofs();
    read_bootfs();
    shim_memory_fails_after(-1);
    free(disk);
    must(shim_objects() <= objects_before || objects_before == 0);
    must(shim_pages_used() <= pages_before || pages_before == 0);
    objects_before = shim_objects();
    pages_before = shim_pages_used();
    return 0;
}
