// The inside of the file layer: vnodes, filesystems, open files.
//
// Three things, from the disk to the application:
//   vnode       a file, directory, device... One per (mount, inode) while anybody uses it.
//   file        an open vnode: position, flags. Descriptors of several processes may share one.
//   descriptor  a small number in a process's table that stands for a file.
//
// Order of locks, first to last; a lock is never taken by somebody who holds a later one:
//   1. file.lock             the position of an open file
//      then vnode.appending  the end of a file, for whoever writes there
//      then the mounts' (mount.c), for whoever unmounts or syncs
//   2. epoll_lock, a pipe's, the terminal's; the network's, inside which only 3 is taken
//   3. names (names_lock())  the tree: who is in which directory, what is mounted where
//   4. the areas of the address space (taken by a page fault, so by every user_* function)
//   5. vnode.lock            size and contents
//   6. spinlocks: vnode table, page cache, descriptor tables, wait queues
// So: no user_* function while holding 3 or 5. Names are copied in before the tree is locked,
// data is copied to and from pages that are held by a reference, not by a lock.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#undef PAGE_SIZE // base.h has it, as an unsigned long

#include "base.h"
#include "clock.h"
#include "file.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "user.h"

struct block_device;
struct iovec;
struct poll_table;
struct mount;
struct file;

// One directory entry after the other is given to `entry`; false means "no room, stop".
// `next` is the position that continues behind this entry.
struct directory_reader {
    bool (*entry)(struct directory_reader *self, u64 next, u64 inode, u32 mode, const char *name,
                  size_t length);
};

// What a filesystem does with its vnodes. A NULL operation is refused with the error named.
// Those of the first group run with the names locked.
struct vnode_operations {
    int (*lookup)(struct vnode *directory, const char *name, size_t length, struct vnode **out);
    int (*read_directory)(struct vnode *directory, u64 position, struct directory_reader *reader);
    int (*create)(struct vnode *directory, const char *name, size_t length, u32 mode, u64 device,
                  struct vnode **out); // -EROFS
    int (*symlink)(struct vnode *directory, const char *name, size_t length,
                   const char *target); // -EROFS
    int (*link)(struct vnode *directory, const char *name, size_t length,
                struct vnode *vnode); // -EROFS
    int (*remove)(struct vnode *directory, const char *name, size_t length,
                  struct vnode *victim); // -EROFS
    int (*rename)(struct vnode *from, const char *old_name, size_t old_length, struct vnode *moved,
                  struct vnode *to, const char *new_name, size_t new_length, struct vnode *replaced,
                  bool exchange);                                   // -EROFS
    long (*read_link)(struct vnode *vnode, char *out, size_t size); // -EINVAL
    int (*follow)(struct vnode *vnode,
                  struct vnode **out); // a link that leads to no name; 1: by its text

    struct page *(*page)(struct vnode *vnode, u64 index, bool writable, int *error); // -ENODEV
    int (*truncate)(struct vnode *vnode, u64 size);                                  // -EROFS
    int (*allocate)(struct vnode *vnode, int mode, u64 offset, u64 length);          // -EOPNOTSUPP
    // The next data, or hole, at or after *offset. NULL: all is data.
    int (*seek)(struct vnode *vnode, u64 *offset, bool hole); // -ENXIO: there is none
    int (*changed)(struct vnode *vnode);                      // mode, owner or times: keep them
    // Returns when the file is on its disk. A filesystem that has this, and whose pages may be
    // mapped writable, hears of those that were written to by `dirtied`, which must not sleep.
    int (*sync)(struct vnode *vnode, bool data_only);
    void (*dirtied)(struct vnode *vnode, u64 index);
    u64 (*blocks)(struct vnode *vnode);   // from the size
    void (*release)(struct vnode *vnode); // the last reference is gone: free it; must not sleep
};

// What an open file does. `position` points to where to read or write and is moved along;
// streams (pipes, terminals) ignore it. Buffers are the application's: use user.h.
struct file_operations {
    bool stream; // has no position: lseek gives -ESPIPE
    int (*open)(struct file *file);
    void (*close)(struct file *file);
    long (*read)(struct file *file, void *buffer, size_t size, u64 *position);        // -EINVAL
    long (*write)(struct file *file, const void *buffer, size_t size, u64 *position); // -EINVAL
    // All pieces at once, for files whose reads and writes are messages. NULL: one after the other.
    long (*vector)(struct file *file, const struct iovec *pieces, size_t count, bool write);
    unsigned (*poll)(struct file *file, struct poll_table *table);    // always ready
    long (*ioctl)(struct file *file, unsigned command, u64 argument); // -ENOTTY
};

struct vnode {
    const struct vnode_operations *operations;
    const struct file_operations *file_operations;
    struct mount *mount; // NULL: a pipe or another thing without a name
    volatile u32 references;
    u32 mode, links, uid, gid;
    u64 inode, size, device;
    u64 accessed, modified, changed; // nanoseconds since 1970
    struct mutex lock, appending;
    struct list table;    // in the table of live vnodes
    struct vnode *parent; // the directory it was found in, with a reference
    char *name;           // its name there; a spinlock guards both
    struct mount *covered_by;
};

static inline bool vnode_is(const struct vnode *vnode, u32 type) {
    return (vnode->mode & S_IFMT) == type;
}

// --- vnode.c
void vnode_init(struct vnode *vnode, struct mount *mount, u64 inode, u32 mode,
                const struct vnode_operations *operations,
                const struct file_operations *file_operations);
struct vnode *vnode_find(struct mount *mount, u64 inode); // with a reference, or NULL
struct vnode *vnode_insert(struct vnode *vnode);          // the one that stays if two made the same
int vnode_set_name(struct vnode *vnode, struct vnode *parent, const char *name, size_t length);
u64 vnodes_sum(struct mount *mount, u64 (*value)(struct vnode *)); // value must not sleep
struct vnode *vnode_anonymous(const char *name, u32 mode, const struct file_operations *operations);
void vnode_touch(struct vnode *vnode); // contents were changed now
void vnode_status(struct vnode *vnode, struct stat *out);
int vnode_truncate(struct vnode *vnode, u64 size);
int vnode_check_writable(struct vnode *vnode); // -EROFS

// --- mount.c
struct filesystem {
    const char *name;
    bool needs_device;
    u64 magic;                                                      // as statfs reports it
    int (*mount)(struct mount *mount, struct block_device *device); // sets mount->root
    void (*unmount)(struct mount *mount);        // frees mount->data; the root is already gone
    bool (*busy)(struct mount *mount, u32 ours); // NULL: busy if more than the root is alive
    void (*clear)(struct mount *mount);          // drops what the filesystem itself keeps alive
    void (*statistics)(struct mount *mount, struct statfs *out);
    int (*sync)(struct mount *mount);    // returns when all of it is on its disk
    void (*finish)(struct mount *mount); // the end has come, though it is in use: leave it whole
};

struct mount {
    struct list link;
    const struct filesystem *filesystem;
    struct vnode *root;
    struct vnode *covers; // NULL: the root of all names, or a mount without a place
    char *device;         // as it is shown in /proc/mounts
    const char *options;  // what mount(2) was given as data, or NULL; only while it mounts
    bool read_only;
    u64 id; // st_dev
    void *data;
};

int filesystem_register(const struct filesystem *filesystem); // -EEXIST, -ENOSPC
bool filesystem_known(const char *name);
const struct filesystem *filesystem_each(size_t number); // by number; NULL: there are no more
void names_lock(void);
void names_unlock(void);
struct vnode *names_root(void); // borrowed
struct mount_wish {
    const char *type, *device, *options;
    bool read_only;
};
int mount_at(const struct mount_wish *wish, const char *path);
int mount_remove(const char *path);
int mount_root(const struct mount_wish *wish);
void mount_place(struct mount *mount, const char *path);
void mount_drop(struct mount *mount);
void mounts_each(void (*visit)(struct mount *mount, void *argument), void *argument);
int mounts_sync(void); // the first error
bool mounts_write_back(void);
void mounts_unmount_all(void);
struct vnode *
mount_cross(struct vnode *vnode); // takes a reference, gives one: the top-most mount here
extern const struct filesystem ramfs, devfs, procfs, sysfs, rofs;

// --- lookup.c
enum last_component { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

enum walk_flags {
    WALK_FOLLOW = 1,   // go through a symbolic link at the end
    WALK_MAY_MISS = 2, // it is no error if the last component does not exist
    WALK_NO_SLASH = 4, // a slash at the end does not make a link be followed
    WALK_NO_LINKS = 8, // no symbolic links at all (-ELOOP)
    WALK_BENEATH = 16, // never leave the start (-EXDEV)
};

// Where a path name led to. Both vnodes are referenced; path_done gives them back.
struct path {
    struct vnode *directory;
    struct vnode *vnode; // NULL: there is nothing of this name in `directory`
    enum last_component last;
    bool slash; // the text ended with a slash: it has to be a directory
    size_t length;
    char name[NAME_MAX + 1];
};

// `text` is destroyed; it has PATH_MAX bytes, unless links are not followed. The names must be locked.
int path_walk(struct vnode *start, char *text, unsigned flags, struct path *out);
void path_done(struct path *path);
// The same from kernel text, locking by itself; gives a referenced vnode.
int path_find(const char *path, struct vnode **out);
char *path_text(void);           // room for PATH_MAX bytes: one page, so it is always to be had
void path_text_free(char *text); // also NULL
char *path_copy_in(const char *user, int *error); // path_text_free it
// A system call's (dirfd, path): copies in, locks the names, walks. On success the names stay locked.
int path_at(int descriptor, const char *user, unsigned flags, struct path *out);
int path_at_text(int descriptor, char *text, unsigned flags, struct path *out);
int path_at_locked(int descriptor, char *text, unsigned flags,
                   struct path *out); // names locked already
// Just the vnode, referenced, nothing locked. An empty path with AT_EMPTY_PATH is the descriptor.
int vnode_at(int descriptor, const char *user, unsigned flags, bool empty_ok, struct vnode **out);

// --- open.c
#define FILE_STATUS_FLAGS (O_APPEND | O_NONBLOCK | O_SYNC | O_DIRECT | O_NOATIME | FILE_ASYNC)
#define FILE_ASYNC 020000
#define FILE_LARGE 0100000 // O_LARGEFILE as the ABI has it; always set

struct file {
    volatile u32 references;
    u32 flags;
    struct vnode *vnode;
    const struct file_operations *operations;
    struct mutex lock;
    u64 position;
    void *data;           // the operations' own
    struct list watchers; // epoll interests
};

int file_create(struct vnode *vnode, unsigned flags, struct file **out); // takes its own reference
int file_anonymous(const char *name, const struct file_operations *operations, void *data,
                   unsigned flags, struct file **out);
void file_get(struct file *file);
long file_read(struct file *file, void *buffer, size_t size); // at its position
long file_write(struct file *file, const void *buffer, size_t size);
unsigned file_poll(struct file *file, struct poll_table *table);
long file_written(struct file *file, long status); // after a write: O_SYNC, O_DSYNC
int kernel_open(const char *path, unsigned flags, u32 mode, struct file **out);

// --- descriptors.c
#define DESCRIPTORS_SOFT 1024
#define DESCRIPTORS_HARD 16384

int descriptor_install(struct file *file, unsigned flags, int lowest); // takes the reference over
bool descriptor_free(struct files *files);                             // is there one to be had?
struct files *files_current(void);
struct vnode *files_directory(struct files *files); // referenced current directory
void files_set_directory(struct files *files, struct vnode *directory);
u32 files_mask(struct files *files);
struct file *files_file(struct files *files, int descriptor, bool *close_on_exec); // any process's
void files_replace_root(struct vnode *old_root, struct vnode *new_root);

// --- cache.c: the page cache. A key is an owner (a mounted filesystem), an inode and a page index.
struct page *cache_find(const void *owner, u64 inode, u64 index); // with a reference
struct page *cache_insert(const void *owner, u64 inode, u64 index, struct page *page);
void cache_forget(const void *owner);
#define CACHE_ALL UINT64_MAX
// Drops an inode's pages from one index to before another. Returns how many of them were dirty.
size_t cache_cut(const void *owner, u64 inode, u64 from, u64 end);
// A page that was written to is kept until it is taken to be written to the disk. If it is not in
// the cache, nobody would ever find it again.
enum cache_dirty { CACHE_ABSENT, CACHE_WAS_DIRTY, CACHE_IS_DIRTY };
enum cache_dirty cache_dirty(const void *owner, u64 inode, u64 index);
// Takes a run of dirty pages of an inode, with references, within one group of `group` pages; they
// count as clean from now on. 0: there are none.
size_t cache_take_dirty(const void *owner, u64 inode, size_t group, u64 *first,
                        struct page **pages);
size_t cache_dirty_pages(void);

// --- devices
struct device {
    u64 number;
    const char *name;
    u32 mode;
    const struct file_operations *operations;
    struct page *(*page)(u64 index, bool writable, int *error);
};
extern const struct device devices[];
extern const size_t device_count;
const struct device *device_find(u64 number);
extern const struct file_operations tty_operations, block_operations, fifo_operations;
struct block_device *block_of(u64 number);
int block_file_flush(struct vnode *vnode); // returns when all that was written is durable
u64 block_number(const struct block_device *device);
void tty_start(void);
void random_bytes(void *out, size_t size);
