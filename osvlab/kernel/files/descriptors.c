// Descriptor tables: the small numbers by which a process names its open files.
//
// Invariant: a slot holds one reference to its file. Slots change under the table's spinlock;
// files are closed, and tables grow, outside of it.

#include "vnode.h"

#include "syscalls_files.h"
#include "thread.h"

#define FIRST_SLOTS 64

struct files {
    struct list link;
    struct spinlock lock;
    struct file **slots;
    u8 *close_on_exec;
    int count;      // slots there are
    int first_free; // no slot below is free
    int soft, hard; // RLIMIT_NOFILE
    struct vnode *directory;
    u32 mask;
};

static struct list tables = LIST(tables);
static struct spinlock tables_lock = SPINLOCK("descriptor tables");

static struct files *files_make(int slots) {
    struct files *files = kzalloc(sizeof(*files));
    if (files == NULL)
        return NULL;
    files->slots = kzalloc((size_t)slots * sizeof(files->slots[0]));
    files->close_on_exec = kzalloc((size_t)slots);
    if (files->slots == NULL || files->close_on_exec == NULL) {
        kfree(files->slots);
        kfree(files->close_on_exec);
        kfree(files);
        return NULL;
    }
    files->lock = (struct spinlock)SPINLOCK("descriptors");
    files->count = slots;
    files->soft = DESCRIPTORS_SOFT;
    files->hard = DESCRIPTORS_HARD;
    files->mask = 022;
    return files;
}

static void files_announce(struct files *files) {
    u64 flags = spin_lock(&tables_lock);
    list_append(&tables, &files->link);
    spin_unlock(&tables_lock, flags);
}

struct files *files_create(void) {
    struct files *files = files_make(FIRST_SLOTS);
    if (files == NULL)
        return NULL;
    files_announce(files);
    if (names_root() != NULL)
        files_set_directory(files, names_root());
    return files;
}

struct files *files_clone(struct files *from) {
    struct files *files = files_make(from->count); // a table only grows; look again under the lock
    while (files != NULL) {
        u64 flags = spin_lock(&from->lock);
        if (from->count <= files->count) {
            for (int i = 0; i < from->count; i++) {
                if (from->slots[i] == NULL)
                    continue;
                file_get(from->slots[i]);
                files->slots[i] = from->slots[i];
                files->close_on_exec[i] = from->close_on_exec[i];
            }
            files->first_free = from->first_free;
            files->soft = from->soft;
            files->hard = from->hard;
            files->mask = from->mask;
            files->directory = from->directory;
            if (files->directory != NULL)
                vnode_get(files->directory);
            spin_unlock(&from->lock, flags);
            files_announce(files);
            return files;
        }
        int count = from->count;
        spin_unlock(&from->lock, flags);
        kfree(files->slots);
        kfree(files->close_on_exec);
        kfree(files);
        files = files_make(count);
    }
    return NULL;
}

void files_destroy(struct files *files) {
    u64 flags = spin_lock(&tables_lock);
    list_remove(&files->link);
    spin_unlock(&tables_lock, flags);
    for (int i = 0; i < files->count; i++)
        if (files->slots[i] != NULL)
            file_put(files->slots[i]);
    vnode_put(files->directory);
    kfree(files->slots);
    kfree(files->close_on_exec);
    kfree(files);
}

struct files *files_current(void) {
    return current_process()->files;
}

struct file *files_file(struct files *files, int descriptor, bool *close_on_exec) {
    struct file *file = NULL;
    u64 flags = spin_lock(&files->lock);
    if (descriptor >= 0 && descriptor < files->count && (file = files->slots[descriptor]) != NULL) {
        file_get(file);
        if (close_on_exec != NULL)
            *close_on_exec = files->close_on_exec[descriptor];
    }
    spin_unlock(&files->lock, flags);
    return file;
}

struct file *file_of(int descriptor) {
    return files_file(files_current(), descriptor, NULL);
}

// Replaces the arrays by longer ones. Somebody else may have done so meanwhile.
static int files_grow(struct files *files, int wanted) {
    int count = FIRST_SLOTS;
    while (count < wanted)
        count *= 2;
    struct file **slots = kzalloc((size_t)count * sizeof(slots[0]));
    u8 *close_on_exec = kzalloc((size_t)count);
    if (slots == NULL || close_on_exec == NULL) {
        kfree(slots);
        kfree(close_on_exec);
        return -ENOMEM;
    }
    u64 flags = spin_lock(&files->lock);
    if (count > files->count) {
        struct file **old_slots = files->slots;
        u8 *old_close = files->close_on_exec;
        memcpy(slots, old_slots, (size_t)files->count * sizeof(slots[0]));
        memcpy(close_on_exec, old_close, (size_t)files->count);
        files->slots = slots;
        files->close_on_exec = close_on_exec;
        files->count = count;
        slots = old_slots;
        close_on_exec = old_close;
    }
    spin_unlock(&files->lock, flags);
    kfree(slots);
    kfree(close_on_exec);
    return 0;
}

// The lowest free descriptor from `lowest` on gets the file. On an error the reference is dropped.
int descriptor_install(struct file *file, unsigned open_flags, int lowest) {
    struct files *files = files_current();
    int status = 0;
    while (status == 0) {
        u64 flags = spin_lock(&files->lock);
        int i = MAX(lowest, files->first_free);
        while (i < files->count && files->slots[i] != NULL)
            i++;
        if (i >= files->soft) {
            spin_unlock(&files->lock, flags);
            status = -EMFILE;
            break;
        }
        if (i < files->count) {
            files->slots[i] = file;
            files->close_on_exec[i] = (open_flags & O_CLOEXEC) != 0;
            if (lowest <= files->first_free)
                files->first_free = i + 1;
            spin_unlock(&files->lock, flags);
            return i;
        }
        spin_unlock(&files->lock, flags);
        status = files_grow(files, i + 1);
    }
    file_put(file);
    return status;
}

bool descriptor_free(struct files *files) {
    u64 flags = spin_lock(&files->lock);
    int i = files->first_free;
    while (i < files->count && files->slots[i] != NULL)
        i++;
    bool found = i < files->soft;
    spin_unlock(&files->lock, flags);
    return found;
}

// Puts a file (or nothing) into a slot; gives what was there.
static int exchange(struct files *files, int descriptor, struct file *file, bool close_on_exec,
                    struct file **old) {
    if (descriptor < 0 || (file != NULL && descriptor >= files->soft)) // what is open can be closed
        return -EBADF;
    if (file != NULL && descriptor >= files->count) {
        int status = files_grow(files, descriptor + 1);
        if (status < 0)
            return status;
    }
    u64 flags = spin_lock(&files->lock);
    *old = NULL;
    if (descriptor < files->count) {
        *old = files->slots[descriptor];
        files->slots[descriptor] = file;
        files->close_on_exec[descriptor] = close_on_exec;
        if (file == NULL && descriptor < files->first_free)
            files->first_free = descriptor;
    }
    spin_unlock(&files->lock, flags);
    return 0;
}

// The close-on-exec flag; a value >= 0 sets it. Gives the old one, or -EBADF.
int descriptor_close_on_exec(int descriptor, int value) {
    struct files *files = files_current();
    int old = -EBADF;
    u64 flags = spin_lock(&files->lock);
    if (descriptor >= 0 && descriptor < files->count && files->slots[descriptor] != NULL) {
        old = files->close_on_exec[descriptor];
        if (value >= 0)
            files->close_on_exec[descriptor] = (u8)value;
    }
    spin_unlock(&files->lock, flags);
    return old;
}

long sys_close(int descriptor) {
    struct file *old;
    int status = exchange(files_current(), descriptor, NULL, false, &old);
    if (status < 0)
        return status;
    if (old == NULL)
        return -EBADF;
    file_put(old);
    return 0;
}

long sys_close_range(unsigned first, unsigned last, unsigned flags) {
    if (first > last || flags & ~4U) // 4: CLOSE_RANGE_CLOEXEC
        return -EINVAL;
    struct files *files = files_current();
    for (u64 i = first; i <= last && i < (u64)files->count; i++) {
        struct file *old = NULL;
        if (flags & 4)
            descriptor_close_on_exec((int)i, 1);
        else if (exchange(files, (int)i, NULL, false, &old) == 0 && old != NULL)
            file_put(old);
    }
    return 0;
}

long sys_dup(int descriptor) {
    struct file *file = file_of(descriptor);
    return file == NULL ? -EBADF : descriptor_install(file, 0, 0);
}

long sys_dup3(int from, int to, int flags) {
    if (from == to || flags & ~O_CLOEXEC)
        return -EINVAL;
    struct file *file = file_of(from);
    if (file == NULL)
        return -EBADF;
    struct file *old;
    int status = exchange(files_current(), to, file, (flags & O_CLOEXEC) != 0, &old);
    if (status < 0) {
        file_put(file);
        return status;
    }
    if (old != NULL)
        file_put(old);
    return to;
}

long sys_dup2(int from, int to) {
    if (from != to)
        return sys_dup3(from, to, 0);
    struct file *file = file_of(from);
    if (file == NULL)
        return -EBADF;
    file_put(file);
    return to;
}

void files_close_on_exec(struct files *files) {
    for (int i = 0; i < files->count; i++) {
        struct file *old = NULL;
        if (files->close_on_exec[i] && exchange(files, i, NULL, false, &old) == 0 && old != NULL)
            file_put(old);
    }
}

void files_limits(struct files *files, u64 *soft, u64 *hard) {
    *soft = (u64)files->soft;
    *hard = (u64)files->hard;
}

int files_set_limits(struct files *files, u64 soft, u64 hard) {
    if (soft > hard)
        return -EINVAL;
    if (hard > DESCRIPTORS_HARD)
        return -EPERM;
    files->soft = (int)soft;
    files->hard = (int)hard;
    return 0;
}

// --- The current directory and the umask ---

struct vnode *files_directory(struct files *files) {
    u64 flags = spin_lock(&files->lock);
    struct vnode *directory = files->directory;
    if (directory != NULL)
        vnode_get(directory);
    spin_unlock(&files->lock, flags);
    return directory;
}

void files_set_directory(struct files *files, struct vnode *directory) {
    vnode_get(directory);
    u64 flags = spin_lock(&files->lock);
    struct vnode *old = files->directory;
    files->directory = directory;
    spin_unlock(&files->lock, flags);
    vnode_put(old);
}

// The root was exchanged: whoever stood in the old one stands in the new one.
void files_replace_root(struct vnode *old_root, struct vnode *new_root) {
    u64 flags = spin_lock(&tables_lock);
    LIST_EACH(&tables, files, struct files, link) {
        u64 inner = spin_lock(&files->lock);
        bool move = files->directory == old_root;
        if (move) {
            vnode_get(new_root);
            files->directory = new_root;
        }
        spin_unlock(&files->lock, inner);
        if (move)
            vnode_put(old_root); // not the last reference: the mount holds one
    }
    spin_unlock(&tables_lock, flags);
}

u32 files_mask(struct files *files) {
    return files->mask;
}

long sys_umask(int mask) {
    struct files *files = files_current();
    u32 old = files->mask;
    files->mask = (u32)mask & 0777;
    return old;
}
