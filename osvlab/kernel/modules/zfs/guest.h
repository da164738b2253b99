// The glue between ZFS (zfs.h) and the kernel it is a module of (module.h).
//
// Locks, in the kernel's order: names, syncing, areas, a vnode's, then the pool's, which is held
// around every call of zfs.h, then spinlocks. Memory of an application is never touched with any of
// them held: a page of it may be a page of this filesystem.
//
// What is written goes to the page cache, and from there, a record at a time, to ZFS: when it is
// synced (every few seconds, by request, or when there is too much of it). A node with something
// to write is on its mount's list and holds a reference to itself.
#pragma once

#include "module.h"

#include "zfs.h"

extern const struct core_services *core;

struct guest_disk {
    struct zfs_disk zfs;
    struct block_device *device;
};

#define RUN_PAGES 256UL // of a record, at most: what is read and written at once
#define RUN_SIZE (RUN_PAGES * PAGE_SIZE)

struct guest_pool {
    struct list link;   // all pools; changed with the names locked, and syncing
    struct list mounts; // likewise, and with the pool locked
    struct guest_disk disk;
    struct mutex lock;
    struct zfs_pool *zfs; // NULL: it has been exported, or could not be imported
    u8 *run;              // RUN_SIZE bytes, and
    struct page **pages;  // RUN_PAGES pages on their way; both go with the lock
    int error;            // of the first write that failed: nothing is written any more
    u64 room;             // bytes that could be written after the last commit, or 0: unknown
    u64 given;            // bytes that ZFS has been given since
    u64 promised; // bytes that dirty pages may take: at least what was accepted since a sync
};

struct guest_mount {
    struct list link;
    struct mount *mount;
    struct guest_pool *pool;
    struct zfs_dataset *dataset; // NULL: finished
    struct spinlock lock;        // the two lists
    struct list dirty;           // nodes with something to write, each with a reference
    struct list orphans;         // nodes of nobody, whose object is to be forgotten
};

struct node {
    struct vnode vnode;
    struct list link; // one of its mount's lists
    bool touched;     // its time of modification is to be told to ZFS
    bool orphan;      // its last name is gone
    int dirty_pages; // in the cache; negative for a moment, when one is taken that was not counted yet
    int error;       // writing it back failed since somebody was told
    u32 run;         // pages that are read and written together
    u64 promised;    // the number of the run that a page of was promised last
};

static inline struct guest_mount *guest_mount_of(const struct vnode *vnode) {
    return vnode->mount->data;
}
static inline struct node *node_of(struct vnode *vnode) {
    return CONTAINER_OF(vnode, struct node, vnode);
}

// --- guest_disk.c
int guest_disk_open(struct guest_disk *disk, const char *path);
extern const struct zfs_services guest_services;

// --- guest_pool.c: pools
// From a device's path; or from the name of a dataset, whose pool must be there.
int guest_pool_open(const char *source, bool read_only, struct guest_pool **out);
bool guest_pool_is(const struct guest_pool *pool, const char *dataset); // the pool of that dataset
void guest_pool_miss(const struct guest_pool *pool, const char *dataset); // tells that it is not
void guest_pool_export(struct guest_pool *pool); // its last mount was told to leave
void guest_pool_free(struct guest_pool *pool);   // and is gone
int guest_enter(struct guest_mount *mount);      // locks the pool; -EIO: there is none any more
void guest_leave(struct guest_mount *mount);
int guest_commit(struct guest_pool *pool,
                 bool always);                 // what ZFS has been given; the pool is locked
int guest_keep_bound(struct guest_pool *pool); // commits if ZFS holds much in memory
// Whether what failed for want of memory or space may be tried again: once, after a commit.
bool guest_again(struct guest_pool *pool, int status, bool *tried);
int guest_failed(struct guest_pool *pool, int error); // notes and tells the first one; gives it
// By all appearances there is room for more to be written; if need be, after a sync. Of all locks at
// most an open file's is held.
bool guest_room(struct guest_mount *mount, u64 bytes);

// --- guest_sync.c: syncing, by request and every few seconds
int guest_sync_start(void);
int guest_sync(struct guest_pool *pool); // everything; of all locks at most the names' is held
void guest_mounts_change(struct guest_pool *pool); // lock and unlock the list of mounts
void guest_mounts_changed(struct guest_pool *pool);
u64 guest_dirty_bound(void); // pages
extern struct list guest_pools;

// --- guest_node.c: vnodes
int guest_node_get(struct mount *mount, u64 object, struct vnode **out); // the pool is locked
void guest_refresh(struct vnode *vnode);                                 // likewise
int guest_set(struct guest_mount *mount, u64 object, unsigned which,
              const struct zfs_attributes *values);       // likewise
void guest_mark(struct vnode *vnode);                     // something is to be written
struct node *guest_next_dirty(struct guest_mount *mount); // with the list's reference
void guest_forget(struct guest_mount *mount); // gives up orphans' objects; the pool is locked
extern const struct vnode_operations guest_operations;

// --- guest_names.c
int guest_lookup(struct vnode *directory, const char *name, size_t length, struct vnode **out);
int guest_read_directory(struct vnode *directory, u64 position, struct directory_reader *reader);
int guest_create(struct vnode *directory, const char *name, size_t length, u32 mode, u64 device,
                 struct vnode **out);
int guest_symlink(struct vnode *directory, const char *name, size_t length, const char *target);
int guest_link(struct vnode *directory, const char *name, size_t length, struct vnode *vnode);
int guest_remove(struct vnode *directory, const char *name, size_t length, struct vnode *victim);
int guest_rename(struct vnode *from, const char *old_name, size_t old_length, struct vnode *moved,
                 struct vnode *to, const char *new_name, size_t new_length, struct vnode *replaced,
                 bool exchange);

// --- guest_pages.c: between page cache and ZFS
struct page *guest_page(struct vnode *vnode, u64 index, bool writable, int *error);
int guest_write_back(struct node *node); // all its dirty pages and its times
int guest_truncate(struct vnode *vnode, u64 size);
void guest_dirtied(struct vnode *vnode, u64 index);
bool guest_dirty(struct vnode *vnode, u64 index);       // false: the page is not in the cache
void guest_cut(struct vnode *vnode, u64 from, u64 end); // drops pages
u64 guest_pages_in(u64 size);
// Clears a page, if it is cached, from there to `end` or to its own end.
void guest_clear_tail(struct vnode *vnode, u64 from, u64 end);
// Has ZFS take bytes of a file; the vnode and the pool are locked.
int guest_give(struct vnode *vnode, u64 offset, const u8 *data, size_t size);

// --- guest_file.c: read and write
int guest_allocate(struct vnode *vnode, int mode, u64 offset, u64 length);
extern const struct file_operations guest_file_operations;
