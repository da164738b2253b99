// Unpacks a bootfs archive into a ramfs.
//
// The format: records of 128 bytes, {u64 size, u64 offset, u8 type, char name[111]}, ended by one
// of zeros; offsets count from the start of the archive. Type 1 is a symbolic link, whose data is
// its NUL-terminated target; a name that ends with a slash is a directory. (OSv: scripts/mkbootfs.py
// and unpack_bootfs in fs/vfs/main.cc.)
// Every field is checked against the size of the archive before it is used.

#include "bootfs.h"

#include "block.h"

struct record {
    u64 size, offset;
    u8 type;
    char name[BOOTFS_NAME];
};
_Static_assert(sizeof(struct record) == BOOTFS_RECORD, "a bootfs record is 128 bytes");

enum { TYPE_FILE = 0, TYPE_LINK = 1 };

static bool is_end(const struct record *record) {
    const u8 *bytes = (const u8 *)record;
    for (size_t i = 0; i < sizeof(*record); i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static int complain(u64 index, const struct record *record, const char *problem) {
    kprintf("bootfs: record %lu (%.*s): %s\n", index, BOOTFS_NAME - 1, record->name, problem);
    return -EINVAL;
}

// Makes one component below `directory`, or finds it there. Takes over the reference to `directory`.
static int enter(struct vnode **directory, const char *name, size_t length) {
    struct vnode *child = NULL;
    int status = (*directory)->operations->lookup(*directory, name, length, &child);
    if (status == -ENOENT)
        status =
            (*directory)->operations->create(*directory, name, length, S_IFDIR | 0755, 0, &child);
    if (status == 0) {
        child = mount_cross(child);
        if (!vnode_is(child, S_IFDIR) || child->operations->create == NULL) {
            vnode_put(child);
            return -ENOTDIR;
        }
        vnode_put(*directory);
        *directory = child;
    }
    return status;
}

static int read_target(struct bootfs_source *source, const struct record *record, char *target) {
    int status = source->read(source, record->offset, target, record->size);
    target[record->size] = '\0';
    return status;
}

static int fill_file(struct bootfs_source *source, const struct record *record,
                     struct vnode *vnode) {
    int status = vnode_truncate(vnode, record->size);
    for (u64 at = 0; at < record->size && status == 0; at += PAGE_SIZE) {
        struct page *page = vnode_page(vnode, at / PAGE_SIZE, true, &status);
        if (page == NULL)
            return status < 0 ? status : -EIO;
        status = source->read(source, record->offset + at, page_address(page),
                              MIN(PAGE_SIZE, record->size - at));
        page_put(page);
    }
    return status;
}

// The last component: a link or a file, replacing one of the same name.
static int make_last(struct bootfs_source *source, const struct record *record,
                     struct vnode *directory, const char *name, size_t length) {
    const struct vnode_operations *operations = directory->operations;
    struct vnode *vnode;
    if (operations->lookup(directory, name, length, &vnode) == 0) {
        int status =
            vnode_is(vnode, S_IFDIR) ? -EISDIR : operations->remove(directory, name, length, vnode);
        vnode_put(vnode);
        if (status < 0)
            return status;
    }
    if (record->type == TYPE_LINK) {
        char *target = kzalloc(record->size + 1);
        if (target == NULL)
            return -ENOMEM;
        int status = read_target(source, record, target);
        if (status == 0)
            status =
                *target == '\0' ? -EINVAL : operations->symlink(directory, name, length, target);
        kfree(target);
        return status;
    }
    int status = operations->create(directory, name, length, S_IFREG | 0755, 0, &vnode);
    if (status < 0)
        return status;
    status = fill_file(source, record, vnode);
    vnode_put(vnode);
    return status;
}

static int unpack_record(struct vnode *root, struct bootfs_source *source,
                         const struct record *record) {
    struct vnode *directory = root;
    vnode_get(root);
    int status = 0;
    const char *name = record->name;
    while (*name == '/')
        name++;
    while (status == 0 && *name != '\0') {
        const char *slash = strchr(name, '/');
        size_t length = slash != NULL ? (size_t)(slash - name) : strlen(name);
        if ((length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.'))
            status = -EINVAL;
        else if (slash == NULL)
            status = make_last(source, record, directory, name, length);
        else
            status = enter(&directory, name, length);
        name += length;
        while (*name == '/')
            name++;
    }
    vnode_put(directory);
    return status;
}

static bool is_terminated(const char *name) {
    for (size_t i = 0; i < BOOTFS_NAME; i++)
        if (name[i] == '\0')
            return true;
    return false;
}

static const char *problem_with(const struct record *record, const struct bootfs_source *source) {
    if (!is_terminated(record->name))
        return "the name has no end";
    if (record->name[0] == '\0')
        return "the name is empty";
    if (record->type > TYPE_LINK)
        return "unknown type";
    if (record->size > source->size || record->offset > source->size - record->size)
        return "the data lies outside of the archive";
    if (record->type == TYPE_LINK && (record->size == 0 || record->size > PATH_MAX))
        return "the link's target has an impossible length";
    return NULL;
}

#define RECORD_COST 1024             // a vnode, and its name twice
#define KERNEL_COST (u64)(8UL << 20) // what is never ramfs's, and a little to run in

// For all files: ramfs takes three quarters of the memory that the kernel has.
static u64 memory_needed(struct bootfs_source *source) {
    struct record record;
    u64 files = 0;
    for (u64 at = 0; source->read(source, at, &record, sizeof(record)) == 0; at += BOOTFS_RECORD) {
        if (is_end(&record) || problem_with(&record, source) != NULL)
            break;
        files += ALIGN_UP(record.size, PAGE_SIZE) + RECORD_COST;
    }
    return source->resident + files / 8 * 11 + KERNEL_COST;
}

static int complain_of_size(struct bootfs_source *source, const struct record *record) {
    struct memory_statistics memory;
    u64 needed = memory_needed(source) >> 20;
    memory_statistics(&memory);
    kprintf("bootfs: no memory for %.*s: the kernel has %lu MiB, all files need a machine of %lu "
            "MiB (osvlab run --memory=%luM)\n",
            BOOTFS_NAME - 1, record->name, memory.total >> 20, needed, needed);
    return -ENOMEM;
}

int bootfs_unpack(struct vnode *root, struct bootfs_source *source) {
    for (u64 index = 0; (index + 1) * BOOTFS_RECORD <= source->size; index++) {
        struct record record;
        int status = source->read(source, index * BOOTFS_RECORD, &record, sizeof(record));
        if (status < 0)
            return status;
        if (is_end(&record))
            return 0;
        const char *problem = problem_with(&record, source);
        if (problem != NULL)
            return complain(index, &record, problem);
        names_lock();
        status = unpack_record(root, source, &record);
        names_unlock();
        if (status == -ENOMEM || status == -ENOSPC)
            return complain_of_size(source, &record);
        if (status < 0) {
            complain(index, &record, "it cannot be made here");
            return status;
        }
    }
    if (source->size == 0)
        return 0;
    kprintf("bootfs: the list of files has no end\n");
    return -EINVAL;
}

// --- From memory ---

struct memory_source {
    struct bootfs_source source;
    const u8 *start;
};

static int read_memory(struct bootfs_source *source, u64 offset, void *to, size_t size) {
    if (size > source->size || offset > source->size - size)
        return -EINVAL;
    memcpy(to, CONTAINER_OF(source, struct memory_source, source)->start + offset, size);
    return 0;
}

int bootfs_unpack_memory(struct vnode *root, const u8 *start, const u8 *end) {
    u64 size = (u64)(end - start);
    struct memory_source memory = {.source = {read_memory, size, size}, .start = start};
    return bootfs_unpack(root, &memory.source);
}

// --- From a partition: through a window of some sectors ---

#define WINDOW_PAGES 16
#define WINDOW_SIZE (WINDOW_PAGES * PAGE_SIZE)

struct device_source {
    struct bootfs_source source;
    struct block_device *device;
    u8 *window;
    u64 window_start, window_size;
};

static int move_window(struct device_source *from, u64 offset) {
    from->window_start = ALIGN_DOWN(offset, SECTOR_SIZE);
    from->window_size = MIN(WINDOW_SIZE, from->source.size - from->window_start);
    int status = block_read(from->device, from->window_start / SECTOR_SIZE, from->window,
                            from->window_size / SECTOR_SIZE);
    if (status < 0)
        from->window_size = 0;
    return status;
}

static int read_device(struct bootfs_source *source, u64 offset, void *to, size_t size) {
    struct device_source *from = CONTAINER_OF(source, struct device_source, source);
    if (size > source->size || offset > source->size - size)
        return -EINVAL;
    while (size > 0) {
        if (offset < from->window_start || offset >= from->window_start + from->window_size) {
            int status = move_window(from, offset);
            if (status < 0)
                return status;
        }
        size_t piece = MIN(size, from->window_start + from->window_size - offset);
        memcpy(to, from->window + (offset - from->window_start), piece);
        to = (u8 *)to + piece;
        offset += piece;
        size -= piece;
    }
    return 0;
}

int bootfs_unpack_device(struct vnode *root, struct block_device *device) {
    struct device_source from = {.source = {read_device, device->sectors * SECTOR_SIZE, 0},
                                 .device = device};
    from.window = pages_allocate(WINDOW_PAGES);
    if (from.window == NULL) {
        kprintf("bootfs: no memory to read %s\n", device->name);
        return -ENOMEM;
    }
    int status = bootfs_unpack(root, &from.source);
    pages_free(from.window, WINDOW_PAGES);
    return status;
}

// The format has no magic number, so what any archive has must do: a name that can be printed, and
// data behind at least this record and the one that ends the list.
static bool is_plausible(const struct record *record) {
    return (u8)record->name[0] >= ' ' && (record->size == 0 || record->offset >= 2 * BOOTFS_RECORD);
}

// Does the partition look like an archive?
bool bootfs_is_on(struct block_device *device) {
    union {
        struct record record;
        u8 sector[SECTOR_SIZE];
    } *first = kzalloc(sizeof(*first));
    struct bootfs_source size_only = {.size = device->sectors * SECTOR_SIZE};
    bool yes = first != NULL && device->sectors > 0 && block_read(device, 0, first, 1) == 0 &&
               !is_end(&first->record) && is_plausible(&first->record) &&
               problem_with(&first->record, &size_only) == NULL;
    kfree(first);
    return yes;
}
