// Which filesystem is the root, and the mounts that belong to it.
//
// At first there is only devfs, for the console. Then the root comes below it: ROFS from the disk,
// or bootfs, which is a ramfs with the kernel's archive in it. To programs it looks as on OSv
// (loader.cc, fs/vfs/main.cc), which always makes bootfs first and pivots from it to the real
// root. Then come the mounts of /etc/fstab. A root that cannot be mounted is only mentioned, and
// the boot goes on with bootfs.

#include "bootfs.h"

#include "block.h"
#include "boot.h"
#include "runtime.h"
#include "syscalls_files.h"
#include "thread.h"

#define ROOT_DEVICE "/dev/vblk0.1"

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
    int status = mount_root("devfs", "none", false);
    if (status < 0)
        panic("cannot make /dev: error %d", -status);
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
static int mount_entry(const char *type, const char *device, const char *path, bool read_only) {
    if (is_mounted(path))
        return 0; // /dev came along with the pivot
    int status = make_directory(path);
    if (status == 0)
        status = mount_at(type, device, path, read_only);
    if (status < 0)
        kprintf("failed to mount %s on %s (%s), error = %d\n", device, path, type, -status);
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
    mount_entry(type, device, path, read_only);
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
        mount_at(type, "none", path, false);
}

static void mount_the_rest(void) {
    process_fstab();
    for (size_t i = 0; i < ARRAY_SIZE(usual_mounts); i++)
        usual_mount(usual_mounts[i][0], usual_mounts[i][1]);
}

// --- The root ---

// Puts the root below devfs, which goes on as its /dev.
static int set_root(const char *type, const char *device, bool read_only) {
    struct mount *devices = names_root()->mount;
    int status = mount_root(type, device, read_only);
    if (status < 0)
        return status;
    if (!read_only)
        make_directory("/dev");
    mount_place(devices, "/dev");
    return 0;
}

void core_mount_bootfs(void) {
    int status = set_root("ramfs", "none", false);
    if (status < 0)
        panic("cannot make the first root filesystem: error %d", -status);
    status = bootfs_unpack_memory(names_root(), bootfs_start, bootfs_end);
    if (status < 0)
        panic("unpack_bootfs failed: error %d", -status);
}

static int mount_rofs(bool as_root) {
    if (block_find("vblk0.1") == NULL) {
        debug("there is no disk with a partition %s\n", ROOT_DEVICE);
        return -ENXIO;
    }
    if (as_root)
        return set_root("rofs", ROOT_DEVICE, true);
    int status = make_directory("/rofs");
    return status == 0 ? mount_at("rofs", ROOT_DEVICE, "/rofs", true) : status;
}

// A ramfs root: the archive comes with the kernel, or in the root partition. Then the directories
// that every root has are made.
static int fill_ramfs_root(void) {
    static const char *const directories[] = {"/dev", "/proc", "/sys", "/tmp", "/etc"};
    struct block_device *device = block_find("vblk0.1");
    int status = 0;
    if (device != NULL && bootfs_is_on(device))
        status = bootfs_unpack_device(names_root(), device);
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        make_directory(directories[i]);
    return status;
}

int core_mount_root(const char *type, bool pivot) {
    bool ramfs = type != NULL && strcmp(type, "ramfs") == 0;
    bool known = ramfs || (type != NULL && strcmp(type, "rofs") == 0);
    if (type != NULL && !known)
        kprintf("--rootfs=%s: the module for %s is not in this kernel; looking for another root.\n",
                type, type);
    if (!known)
        debug("Auto-discovering the root filesystem...\n");
    if (ramfs || !pivot)
        core_mount_bootfs();
    int status = ramfs ? fill_ramfs_root() : mount_rofs(pivot);
    if (status < 0 && !ramfs && pivot)
        core_mount_bootfs();
    if (status < 0 && !known) {
        debug("Failed to discover the rootfs filesystem. Staying on bootfs.\n");
        status = fill_ramfs_root();
    }
    mount_the_rest();
    boot_step("root filesystem");
    return status; // of a root that was asked for: the caller says so, and goes on
}

int core_mount(const char *type, const char *device, const char *path) {
    return mount_entry(type, device, path, false);
}

void files_shutdown(void) {
    mounts_unmount_all();
}
