// Block devices and their partitions: sectors of 512 bytes, in and out of physical memory.
#pragma once

#include "base.h"
#include "list.h"

#define SECTOR_SIZE 512UL

// A physically contiguous piece of memory.
struct segment {
    u64 physical;
    u32 size; // bytes, a multiple of SECTOR_SIZE
};

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH };

struct block_device {
    struct list link;
    char name[16];    // "vblk0", "vblk0.1"
    u64 first_sector; // of a partition, within its parent
    u64 sectors;
    bool read_only;
    struct block_device *parent; // NULL for a whole disk
    void *driver;
    // Sleeps until done. 0 or -EIO.
    int (*transfer)(struct block_device *, enum block_operation, u64 sector, const struct segment *,
                    size_t count);
};

// Announces a disk and its MBR partitions (OSv's rules: osv device.cc; slot i becomes NAME.i).
void block_register(struct block_device *disk);
struct block_device *block_find(const char *name);
void block_each(void (*visit)(struct block_device *, void *), void *argument);

// Bounds-checked transfers. Partitions are translated to their disk. -EIO, -EINVAL, -EROFS.
int block_transfer(struct block_device *device, enum block_operation operation, u64 sector,
                   const struct segment *segments, size_t count);

// Into and out of one kernel buffer (linear-map memory).
int block_read(struct block_device *device, u64 sector, void *buffer, size_t sectors);
int block_write(struct block_device *device, u64 sector, const void *buffer, size_t sectors);

// Whole sectors at an offset in bytes, into or out of any kernel memory. Memory outside of the linear
// map has to begin at a multiple of SECTOR_SIZE. A flush takes neither.
int block_bytes(struct block_device *device, enum block_operation operation, u64 offset,
                void *memory, size_t size);
