// What is around the ZFS module on the host: a file as its disk, malloc, the clock.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "zfs.h"

// A file as a disk. Changes go to memory first and are in the file after a flush, so that power
// can be cut at any write: `writes_left` of them still happen, then none does and none fails.
struct file_disk {
    struct zfs_disk disk;
    int file;
    uint64_t writes, writes_left, flushes;
};
void file_disk_open(struct file_disk *disk, const char *path);
void file_disk_close(struct file_disk *disk);

void shim_start(uint64_t seed); // sets zfs_services; random bytes follow from the seed
extern char shim_said[4096];    // the last messages, newest last
extern size_t shim_memory;      // bytes that are allocated
extern long shim_fail_after;    // allocations until one fails; -1: none
