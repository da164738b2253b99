// What is around the ZFS module on the host: a file as its disk, malloc, the clock.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "zfs.h"

// A file as a disk. Its power can be cut after some more writes: of what was written since the last
// flush, only some sectors are there then, as if the disk had been free in the order; and nothing
// can be read or written any more.
struct file_disk {
    struct zfs_disk disk;
    int file;
    uint64_t writes, reads, flushes;
    uint64_t writes_left; // until the power is cut; UINT64_MAX: it is not
    struct undo *undo;    // what writes since the last flush have overwritten
    uint64_t dice;
};
void file_disk_open(struct file_disk *disk, const char *path);
void file_disk_cut(struct file_disk *disk, uint64_t writes, uint64_t seed);
void file_disk_close(struct file_disk *disk);

void shim_start(uint64_t seed); // sets zfs_services; random bytes follow from the seed
void shim_cache(size_t bytes);  // of clean blocks in memory; 0: as many as usual
extern size_t shim_memory;      // bytes that are allocated
extern size_t shim_memory_most;
extern long shim_fail_every; // every n-th allocation fails; 0: none
extern int shim_quiet;
