// Vnodes: how they are born, found again, named and let go.
//
// Invariant: the table holds every vnode that belongs to a mount and has references, at most
// one per (mount, inode). A vnode's last reference is dropped under the table's lock, so a
// search never revives a vnode that is being freed.
// The idea: Kleiman, "Vnodes: An Architecture for Multiple File System Types in Sun UNIX" (1986).

#include "vnode.h"

#include "area.h"

#define TABLE_SIZE 256

static struct list table[TABLE_SIZE];
static struct spinlock table_lock = SPINLOCK("vnodes");
static struct spinlock name_lock = SPINLOCK("vnode names");
static u64 next_anonymous = 1;

static struct list *bucket(const struct mount *mount, u64 inode) {
    u64 hash = ((u64)(uintptr_t)mount >> 6) ^ inode * 0x9E3779B97F4A7C15UL;
    struct list *head = &table[(hash ^ hash >> 32) % TABLE_SIZE];
    if (head->next == NULL)
        list_init(head);
    return head;
}

void vnode_init(struct vnode *vnode, struct mount *mount, u64 inode, u32 mode,
                const struct vnode_operations *operations,
                const struct file_operations *file_operations) {
    vnode->operations = operations;
    vnode->file_operations = file_operations;
    vnode->mount = mount;
    vnode->references = 1;
    vnode->mode = mode;
    vnode->links = 1;
    vnode->inode = inode;
    vnode->accessed = vnode->modified = vnode->changed = clock_realtime();
    mutex_init(&vnode->lock, "vnode");
    mutex_init(&vnode->appending, "append");
    list_init(&vnode->table);
}

static struct vnode *find_locked(struct mount *mount, u64 inode) {
    LIST_EACH(bucket(mount, inode), vnode, struct vnode, table) {
        if (vnode->mount == mount && vnode->inode == inode) {
            vnode_get(vnode);
            return vnode;
        }
    }
    return NULL;
}

struct vnode *vnode_find(struct mount *mount, u64 inode) {
    u64 flags = spin_lock(&table_lock);
    struct vnode *vnode = find_locked(mount, inode);
    spin_unlock(&table_lock, flags);
    return vnode;
}

// Two threads may have made the same vnode at once: the first one in stays, for both.
struct vnode *vnode_insert(struct vnode *vnode) {
    u64 flags = spin_lock(&table_lock);
    struct vnode *other = find_locked(vnode->mount, vnode->inode);
    if (other == NULL)
        list_append(bucket(vnode->mount, vnode->inode), &vnode->table);
    spin_unlock(&table_lock, flags);
    if (other == NULL)
        return vnode;
    vnode_put(vnode);
    return other;
}

// Adds up something over the live vnodes of a mount.
u64 vnodes_sum(struct mount *mount, u64 (*value)(struct vnode *)) {
    u64 sum = 0;
    u64 flags = spin_lock(&table_lock);
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if (table[i].next == NULL)
            continue;
        LIST_EACH(&table[i], vnode, struct vnode, table)
        if (vnode->mount == mount)
            sum += value(vnode);
    }
    spin_unlock(&table_lock, flags);
    return sum;
}

void vnode_get(struct vnode *vnode) {
    __atomic_add_fetch(&vnode->references, 1, __ATOMIC_RELAXED);
}

// A vnode holds its parent, so letting one go may let go a whole chain: a loop, not a recursion.
void vnode_put(struct vnode *vnode) {
    while (vnode != NULL) {
        u64 flags = spin_lock(&table_lock);
        bool last = __atomic_sub_fetch(&vnode->references, 1, __ATOMIC_ACQ_REL) == 0;
        if (last)
            list_remove(&vnode->table);
        spin_unlock(&table_lock, flags);
        if (!last)
            return;
        struct vnode *parent = vnode->parent;
        kfree(vnode->name);
        vnode->operations->release(vnode);
        vnode = parent;
    }
}

// --- Names ---

int vnode_set_name(struct vnode *vnode, struct vnode *parent, const char *name, size_t length) {
    char *copy = kzalloc(length + 1);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, name, length);
    if (parent != NULL)
        vnode_get(parent);
    u64 flags = spin_lock(&name_lock);
    struct vnode *old_parent = vnode->parent;
    char *old_name = vnode->name;
    vnode->parent = parent;
    vnode->name = copy;
    spin_unlock(&name_lock, flags);
    kfree(old_name);
    vnode_put(old_parent);
    return 0;
}

// Writes the path backwards, from the end of the buffer, one parent after the other. A path
// that does not fit keeps its end, which is what a reader of messages wants to see.
const char *vnode_path(struct vnode *vnode, char *out, size_t size) {
    if (vnode == NULL || size < 2)
        return "";
    char *at = out + size - 1;
    *at = '\0';
    u64 flags = spin_lock(&name_lock);
    if (vnode->mount == NULL) {
        size_t length = MIN(vnode->name == NULL ? 0 : strlen(vnode->name), size - 1);
        at -= length;
        memcpy(at, vnode->name, length);
    } else {
        for (struct vnode *v = vnode; v != NULL;) {
            if (v->parent == NULL) { // the root of a filesystem: go on below it
                v = v->mount->root == v ? v->mount->covers : NULL;
                continue;
            }
            size_t length = strlen(v->name);
            if ((size_t)(at - out) < length + 1)
                break;
            at -= length;
            memcpy(at, v->name, length);
            *--at = '/';
            v = v->parent;
        }
        if (*at == '\0')
            *--at = '/';
    }
    spin_unlock(&name_lock, flags);
    memmove(out, at, strlen(at) + 1);
    return out;
}

// --- Vnodes without a name in the tree: pipes, eventfds, epolls ---

static void release_anonymous(struct vnode *vnode) {
    kfree(vnode);
}

static const struct vnode_operations anonymous_operations = {.release = release_anonymous};

struct vnode *vnode_anonymous(const char *name, u32 mode,
                              const struct file_operations *operations) {
    struct vnode *vnode = kzalloc(sizeof(*vnode));
    if (vnode == NULL)
        return NULL;
    u64 inode = __atomic_fetch_add(&next_anonymous, 1, __ATOMIC_RELAXED);
    vnode_init(vnode, NULL, inode, mode, &anonymous_operations, operations);
    char text[48];
    if (name[0] == '[') // anon_inode:[eventfd], as Linux shows it
        format_string(text, sizeof(text), "anon_inode:%s", name);
    else
        format_string(text, sizeof(text), "%s:[%lu]", name, inode);
    vnode->name = kstrdup(text);
    if (vnode->name == NULL) {
        vnode_put(vnode);
        return NULL;
    }
    return vnode;
}

// --- Attributes and data ---

u64 vnode_size(struct vnode *vnode) {
    if (vnode_is(vnode, S_IFCHR))
        return INT64_MAX; // /dev/zero can be mapped anywhere
    return __atomic_load_n(&vnode->size, __ATOMIC_RELAXED);
}

void vnode_touch(struct vnode *vnode) {
    vnode->modified = vnode->changed = clock_realtime();
}

int vnode_check_writable(struct vnode *vnode) {
    return vnode->mount != NULL && vnode->mount->read_only ? -EROFS : 0;
}

void vnode_status(struct vnode *vnode, struct stat *out) {
    memset(out, 0, sizeof(*out));
    out->st_dev = vnode->mount == NULL ? 1 : vnode->mount->id;
    out->st_ino = vnode->inode;
    out->st_nlink = vnode->links;
    out->st_mode = vnode->mode;
    out->st_uid = vnode->uid;
    out->st_gid = vnode->gid;
    out->st_rdev = vnode->device;
    out->st_size = (off_t)vnode->size;
    out->st_blksize = PAGE_SIZE;
    out->st_blocks =
        (blkcnt_t)(vnode->operations->blocks != NULL ? vnode->operations->blocks(vnode)
                                                     : ALIGN_UP(vnode->size, 512) / 512);
    out->st_atim = ns_to_timespec(vnode->accessed);
    out->st_mtim = ns_to_timespec(vnode->modified);
    out->st_ctim = ns_to_timespec(vnode->changed);
}

int vnode_truncate(struct vnode *vnode, u64 size) {
    if (vnode_is(vnode, S_IFDIR))
        return -EISDIR;
    if (!vnode_is(vnode, S_IFREG))
        return -EINVAL;
    int status = vnode_check_writable(vnode);
    if (status < 0)
        return status;
    if (vnode->operations->truncate == NULL)
        return -EROFS;
    status = vnode->operations->truncate(vnode, size);
    if (status == 0) {
        vnode_touch(vnode);
        area_file_changed(vnode, size, UINT64_MAX, true);
    }
    return status;
}

bool vnode_writes_back(const struct vnode *vnode) {
    return vnode->operations->dirtied != NULL;
}

void vnode_dirtied(struct vnode *vnode, u64 index) {
    vnode->operations->dirtied(vnode, index);
}

bool vnode_mappable(struct vnode *vnode) {
    if (vnode_is(vnode, S_IFCHR)) {
        const struct device *device = device_find(vnode->device);
        return device != NULL && device->page != NULL;
    }
    return vnode->operations->page != NULL && vnode_is(vnode, S_IFREG);
}

struct page *vnode_page(struct vnode *vnode, u64 index, bool writable, int *error) {
    *error = 0;
    if (vnode_is(vnode, S_IFCHR)) {
        const struct device *device = device_find(vnode->device);
        if (device != NULL && device->page != NULL)
            return device->page(index, writable, error);
    } else if (vnode->operations->page != NULL) {
        return vnode->operations->page(vnode, index, writable, error);
    }
    *error = -ENODEV;
    return NULL;
}
