// What the ZFS module can do: for its glue to the kernel, for mkfs, and for tests on the host.
//
// Pure logic. It reaches a disk, memory and a clock through the two structures below, and knows
// nothing of a kernel. It takes no locks: whoever calls it holds the pool's, one lock for all.
//
// Invariant: what a finished transaction group can reach is never overwritten. All changes go to
// free space; the next uberblock makes them visible, all of them or none. So a power cut loses
// what came after the last zfs_sync, and never anything before it.
//
// Everything returns 0 (or a count) or a negative errno.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zfs_pool;
struct zfs_dataset;

// A vdev: a disk, a partition or a file. Offsets and sizes are in bytes, multiples of 512.
struct zfs_disk {
    uint64_t size;
    int (*read)(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size);
    int (*write)(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size);
    int (*flush)(struct zfs_disk *disk); // returns when everything written is durable
    const char *path;                    // as labels name it: "/dev/vblk0.1"
};

// What is supplied around the module. On the host: malloc, clock_gettime, fprintf.
struct zfs_services {
    void *(*allocate)(size_t size); // zeroed; NULL: there is none
    void (*free)(void *memory, size_t size);
    uint64_t (*now)(void); // nanoseconds since 1970
    void (*random)(void *out, size_t size);
    void (*say)(const char *message); // one line, to the console
    size_t cache_bytes;               // of clean blocks kept in memory; 0: 16 MiB
};
extern const struct zfs_services *zfs_services; // set before anything else is called

// --- Pools

enum zfs_open_flags {
    ZFS_READ_ONLY = 1,
};

// Opens the pool on these disks: the newest uberblock whose objects can be read.
int zfs_import(struct zfs_disk *disks, unsigned count, unsigned flags, struct zfs_pool **out);
int zfs_sync(struct zfs_pool *pool);     // completes a transaction group: durable when it returns
int zfs_export(struct zfs_pool *pool);   // syncs, marks the labels exported, frees the pool
void zfs_abandon(struct zfs_pool *pool); // frees it as it is; nothing is written
uint64_t zfs_dirty_bytes(const struct zfs_pool *pool); // held in memory until the next sync
bool zfs_needs_sync(const struct zfs_pool *pool);
const char *zfs_pool_name(const struct zfs_pool *pool);
const char *zfs_read_only_reason(const struct zfs_pool *pool); // NULL: it can be written to
void zfs_trim(struct zfs_pool *pool); // gives cached memory back that is not needed

struct zfs_format {
    const char *name;     // of the pool
    unsigned ashift;      // log2 of the smallest block: 9 or 12
    unsigned compression; // of its root dataset, as block pointers number it: 2 off, 15 lz4
};
int zfs_format(struct zfs_disk *disk, const struct zfs_format *format); // leaves it exported

// --- Datasets

int zfs_dataset_open(struct zfs_pool *pool, const char *name, struct zfs_dataset **out);
int zfs_dataset_create(struct zfs_pool *pool, const char *name);
void zfs_dataset_close(struct zfs_dataset *dataset);
const char *
zfs_dataset_read_only_reason(const struct zfs_dataset *dataset); // NULL: it can be written to
uint64_t zfs_root(const struct zfs_dataset *dataset);            // object of the root directory

struct zfs_space {
    uint64_t total, used, free; // bytes
    uint64_t files;
};
void zfs_space(const struct zfs_dataset *dataset, struct zfs_space *out);

// --- Files, by the number of their object
//
// Whatever changes something may fail with -ENOSPC or -ENOMEM and succeed after zfs_sync: what was
// freed is free only then, and what was changed need not be held in memory.

struct zfs_attributes {
    uint32_t mode, owner, group;
    uint64_t links, size, device, parent, generation;
    uint64_t accessed, modified, changed, created; // nanoseconds since 1970
    uint64_t stored;                               // bytes of disk space
    uint32_t record;                               // bytes of a block
};

enum zfs_set {
    ZFS_SET_MODE = 1,
    ZFS_SET_OWNER = 2,
    ZFS_SET_GROUP = 4,
    ZFS_SET_ACCESSED = 8,
    ZFS_SET_MODIFIED = 16,
};

int zfs_attributes(struct zfs_dataset *dataset, uint64_t object, struct zfs_attributes *out);
int zfs_set_attributes(struct zfs_dataset *dataset, uint64_t object, unsigned which,
                       const struct zfs_attributes *values);
long zfs_read(struct zfs_dataset *dataset, uint64_t object, uint64_t offset, void *buffer,
              size_t size); // up to the file's end
// The file grows if need be. Less than `size`: memory or space ran out.
long zfs_write(struct zfs_dataset *dataset, uint64_t object, uint64_t offset, const void *data,
               size_t size);
int zfs_truncate(struct zfs_dataset *dataset, uint64_t object, uint64_t size);
int zfs_seek_data(struct zfs_dataset *dataset, uint64_t object, uint64_t *offset, bool hole);
long zfs_read_link(struct zfs_dataset *dataset, uint64_t object, char *out, size_t size);

// --- Names

int zfs_lookup(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               uint64_t *object); // -ENOENT

// One entry after the other from a position (0: the first); `entry` says false to stop before it.
// Positions stay right while other names come and go.
struct zfs_reader {
    bool (*entry)(struct zfs_reader *self, uint64_t next, uint64_t object, uint32_t type,
                  const char *name, size_t length);
};
int zfs_read_directory(struct zfs_dataset *dataset, uint64_t directory, uint64_t position,
                       struct zfs_reader *reader);

struct zfs_new {
    uint32_t mode, owner, group; // the type is in the mode
    uint64_t device;
    const char *target; // of a symbolic link
};
int zfs_create(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               const struct zfs_new *new, uint64_t *object); // -EEXIST
int zfs_link(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
             uint64_t object);
// Removes a name; a directory must be empty. Without `in_use` the object goes with its last name.
// With it, it stays until zfs_forget, on the disk in the delete queue.
int zfs_remove(struct zfs_dataset *dataset, uint64_t directory, const char *name, size_t length,
               bool in_use);
int zfs_forget(struct zfs_dataset *dataset, uint64_t object);
// Replaces what has the new name, as rename(2) does.
int zfs_rename(struct zfs_dataset *dataset, uint64_t from, const char *old_name, size_t old_length,
               uint64_t to, const char *new_name, size_t new_length, bool replaced_in_use);
