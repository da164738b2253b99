// Which filesystem is the root, and the mounts that belong to it.
//
// At first there is only devfs, for the console. Then the root comes below it: ROFS from the disk,
// or bootfs, which is a ramfs with the archives in it that came along with the kernel. A ZFS root
// needs both: its module lies in bootfs. To programs it looks as on OSv (loader.cc,
// fs/vfs/main.cc), which always makes bootfs first and pivots from it to the real root. Then come
// the modules that the root has and the mounts of /etc/fstab. A root that cannot be mounted is only
// mentioned, and the boot goes on with bootfs; files that do not fit into memory end it.

#include "bootfs.h"

#include "block.h"
#include "boot.h"
#include "boot_memory.h"
#include "report.h"
#include "runtime.h"
#include "syscalls_files.h"
#include "thread.h"

#define ROOT_DEVICE "/dev/vblk0.1"
#define ARCHIVE_DEVICE "vblk0.0" // may hold an archive with what the root needs
#define MODULES "/usr/lib/fs"
#define CANNOT_START 126 // as the runtime ends when it cannot start a program

static struct mount *device_nodes; // devfs, which every root gets as its /dev

static int make_directory(const char *path) {
    char text[64];
    format_string(text, sizeof(text), "%s", path);
    struct path at;
    names_lock();
    int status = path_walk(names_root(), text, WALK_NO_LINKS | WALK_MAY_MISS, &at);
    if (status == 0 && at.vnode == NULL) {
        status = vnode_check_writable(at.directory);
        if (status == 0 && at.directory->operations->create == NULL)
            status = -EPERM;
        if (status == 0)
            status = at.directory->operations->create(at.directory, at.name, at.length,
                                                      S_IFDIR | 0755, 0, &at.vnode);
    }
    names_unlock();
    if (status >= 0)
        path_done(&at);
    return status;
}

void files_boot(struct files *files) {
    int status = mount_root(&(struct mount_wish){.type = "devfs", .device = "none"});
    if (status < 0)
        panic("cannot make /dev: error %d", -status);
    device_nodes = names_root()->mount;
    files_set_directory(files, names_root());
    tty_start();
    struct file *console;
    status = kernel_open("/console", O_RDWR, 0, &console);
    if (status < 0)
        panic("cannot open /dev/console: error %d", -status);
    for (int i = 0; i < 3; i++) {
        file_get(console);
        descriptor_install(console, 0, 0);
    }
    file_put(console);
}

// --- /etc/fstab and its like ---

static bool is_mounted(const char *path) {
    struct vnode *vnode;
    if (path_find(path, &vnode) < 0)
        return false;
    bool yes = vnode->mount->root == vnode;
    vnode_put(vnode);
    return yes;
}

// Mounts one thing, with OSv's leniency: a directory that is missing is made where that is
// possible, and a failure is mentioned but does not stop the boot.
static int mount_entry(const struct mount_wish *wish, const char *path) {
    if (is_mounted(path))
        return 0; // /dev came along with the pivot
    int status = make_directory(path);
    if (status == 0)
        status = mount_at(wish, path);
    if (status < 0)
        kprintf("failed to mount %s on %s (%s), error = %d\n", wish->device, path, wish->type,
                -status);
    return status;
}

// Cuts the next word out of a line; NULL when there is none.
static char *next_word(char **line) {
    char *start = *line;
    while (*start == ' ' || *start == '\t')
        start++;
    char *end = start;
    while (*end != '\0' && *end != ' ' && *end != '\t')
        end++;
    *line = *end == '\0' ? end : end + 1;
    *end = '\0';
    return *start == '\0' ? NULL : start;
}

// "device directory type options ..."; # begins a comment. OSv skips the entry of the root.
static void fstab_line(char *line) {
    char *device = next_word(&line), *path = next_word(&line), *type = next_word(&line);
    char *options = next_word(&line);
    if (device == NULL || *device == '#' || type == NULL || strcmp(path, "/") == 0)
        return;
    bool read_only = options != NULL && strcmp(options, "ro") == 0;
    if (options != NULL && !read_only && strcmp(options, "defaults") != 0)
        debug("fstab: options \"%s\" of %s are ignored\n", options, path);
    mount_entry(&(struct mount_wish){type, device, NULL, read_only}, path);
}

#define FSTAB_MAX 8192

static void process_fstab(void) {
    struct file *file;
    if (kernel_open("/etc/fstab", O_RDONLY, 0, &file) < 0)
        return;
    char *text = kzalloc(FSTAB_MAX + 1);
    long size = text == NULL ? -ENOMEM : file_read(file, text, FSTAB_MAX);
    file_put(file);
    if (size < 0)
        kprintf("cannot read /etc/fstab, error = %ld\n", -size);
    for (char *line = text; size > 0 && line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        fstab_line(line);
        line = end == NULL ? NULL : end + 1;
    }
    kfree(text);
}

static void load_modules(void) {
    struct vnode *vnode;
    if (path_find(MODULES, &vnode) < 0)
        return;
    vnode_put(vnode);
    runtime_load_modules(MODULES);
}

static const char *const usual_mounts[][2] = {
    {"devfs", "/dev"}, {"procfs", "/proc"}, {"sysfs", "/sys"}, {"ramfs", "/tmp"}};

// What an image without an fstab would miss; only where the directory is there.
static void usual_mount(const char *type, const char *path) {
    struct vnode *vnode;
    if (path_find(path, &vnode) < 0)
        return;
    bool wanted = vnode->mount->root != vnode && vnode_is(vnode, S_IFDIR);
    // A writable root keeps its own /tmp, with what is in it.
    wanted = wanted && (strcmp(type, "ramfs") != 0 || vnode->mount->read_only);
    vnode_put(vnode);
    if (wanted)
        mount_at(&(struct mount_wish){.type = type, .device = "none"}, path);
}

static void mount_the_rest(void) {
    load_modules();
    process_fstab();
    for (size_t i = 0; i < ARRAY_SIZE(usual_mounts); i++)
        usual_mount(usual_mounts[i][0], usual_mounts[i][1]);
}

// --- The root ---

// Puts another root below devfs, which goes on as its /dev. The root before it goes away.
static int set_root(const char *type, const char *device, bool read_only) {
    struct mount *old = names_root()->mount;
    int status = mount_root(&(struct mount_wish){type, device, NULL, read_only});
    if (status < 0)
        return status;
    if (!read_only)
        make_directory("/dev");
    mount_place(device_nodes, "/dev");
    if (old != device_nodes)
        mount_drop(old);
    return 0;
}

// A part of the files is no root: nothing that is started on it would work. It has been said why.
static int whole(int status) {
    if (status == -ENOMEM)
        power_off(CANNOT_START);
    return status;
}

// From a partition, if it holds an archive. 0 also where there is none.
static int unpack_partition(const char *name) {
    struct block_device *device = block_find(name);
    if (device == NULL || !bootfs_is_on(device))
        return 0;
    return whole(bootfs_unpack_device(names_root(), device));
}

void core_mount_bootfs(void) {
    int status = set_root("ramfs", "none", false);
    if (status < 0)
        panic("cannot make the first root filesystem: error %d", -status);
    status = whole(bootfs_unpack_memory(names_root(), bootfs_start, bootfs_end));
    if (status < 0)
        panic("unpack_bootfs failed: error %d", -status);
    if (boot_archive.start != 0) {
        whole(bootfs_unpack_memory(names_root(), PHYSICAL_TO_VIRTUAL(boot_archive.start),
                                   PHYSICAL_TO_VIRTUAL(boot_archive.end)));
        pages_take_archive();
    }
    unpack_partition(ARCHIVE_DEVICE);
}

// The filesystem where it belongs: below everything or, without pivot, at a directory of its name.
static int mount_disk(const char *type, const char *path, bool read_only, bool as_root) {
    if (block_find("vblk0.1") == NULL) {
        debug("there is no disk with a partition %s\n", ROOT_DEVICE);
        return -ENXIO;
    }
    if (as_root)
        return set_root(type, ROOT_DEVICE, read_only);
    int status = make_directory(path);
    return status == 0 ? mount_at(&(struct mount_wish){type, ROOT_DEVICE, NULL, read_only}, path)
                       : status;
}

// The first label of a pool ends its list of names and values with a checksum and this number.
#define ZFS_MAGIC 0x0210da7ab10c7a11UL
#define ZFS_MAGIC_AT (128 * 1024 - 40)

static bool holds_zfs(void) {
    struct block_device *device = block_find("vblk0.1");
    u64 *sector = kzalloc(SECTOR_SIZE);
    bool yes = device != NULL && sector != NULL &&
               block_read(device, ZFS_MAGIC_AT / SECTOR_SIZE, sector, 1) == 0 &&
               sector[ZFS_MAGIC_AT % SECTOR_SIZE / sizeof(u64)] == ZFS_MAGIC;
    kfree(sector);
    return yes;
}

// With bootfs as the first root. Its module may have come along with the kernel.
static int mount_zfs(bool pivot) {
    load_modules();
    if (filesystem_known("zfs"))
        return mount_disk("zfs", "/zfs", false, pivot);
    if (holds_zfs())
        kprintf("%s holds a ZFS pool, and nothing brought ZFS's module along: the first partition "
                "should\n",
                ROOT_DEVICE);
    return -ENODEV;
}

// A ramfs root: the archive comes with the kernel, or in the root partition. Then the directories
// that every root has are made.
static int fill_ramfs_root(void) {
    static const char *const directories[] = {"/dev", "/proc", "/sys", "/tmp", "/etc"};
    int status = unpack_partition("vblk0.1");
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        make_directory(directories[i]);
    return status;
}

static int discover_root(bool pivot) {
    debug("Auto-discovering the root filesystem...\n");
    bool pool = holds_zfs();
    int status = pool ? -EINVAL : mount_disk("rofs", "/rofs", true, pivot);
    if (status < 0 && pivot)
        core_mount_bootfs();
    if (status < 0)
        status = mount_zfs(pivot);
    if (status < 0) {
        debug("Failed to discover the rootfs filesystem. Staying on bootfs.\n");
        status = fill_ramfs_root();
    }
    return status;
}

int core_mount_root(const char *type, bool pivot) {
    bool ramfs = type != NULL && strcmp(type, "ramfs") == 0;
    bool rofs = type != NULL && strcmp(type, "rofs") == 0;
    bool zfs = type != NULL && strcmp(type, "zfs") == 0;
    int status;
    if (type != NULL && !ramfs && !rofs && !zfs)
        kprintf("--rootfs=%s: this kernel has no such root; looking for another one.\n", type);
    if (ramfs || zfs || !pivot)
        core_mount_bootfs();
    if (ramfs) {
        status = fill_ramfs_root();
    } else if (zfs) {
        status = mount_zfs(pivot);
    } else if (rofs) {
        status = mount_disk("rofs", "/rofs", true, pivot);
        if (status < 0 && pivot)
            core_mount_bootfs();
    } else {
        status = discover_root(pivot);
    }
    mount_the_rest();
    boot_step("root filesystem");
    return status; // of a root that was asked for: the caller says so, and goes on
}

int core_mount(const char *type, const char *device, const char *path) {
    return mount_entry(&(struct mount_wish){.type = type, .device = device}, path);
}

bool core_filesystem_known(const char *type) {
    return filesystem_known(type);
}

void files_shutdown(void) {
    mounts_unmount_all();
}
