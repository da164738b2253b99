#include "zfs_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512

size_t shim_memory, shim_memory_most;
long shim_fail_every;
int shim_quiet;
static uint64_t random_state;

static bool memory_is_short(void) {
    static long count;
    return shim_fail_every > 0 && ++count % shim_fail_every == 0;
}

static void *allocate(size_t size) {
    if (memory_is_short())
        return NULL;
    shim_memory += size;
    shim_memory_most = shim_memory > shim_memory_most ? shim_memory : shim_memory_most;
    return calloc(1, size);
}

static void give_back(void *memory, size_t size) {
    shim_memory -= size;
    memset(memory, 0xfa, size); // also finds a size that is wrong
    free(memory);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005 + 1442695040888963407;
    return *state >> 33;
}

static void random_bytes(void *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)out)[i] = (uint8_t)next_random(&random_state);
}

static void say(const char *message) {
    if (!shim_quiet)
        fprintf(stderr, "%s\n", message);
}

static struct zfs_services services = {
    .allocate = allocate, .free = give_back, .now = now, .random = random_bytes, .say = say};

void shim_cache(size_t bytes) {
    services.cache_bytes = bytes;
}

void shim_start(uint64_t seed) {
    random_state = seed;
    zfs_services = &services;
}

// --- The disk

struct undo {
    struct undo *next;
    uint64_t offset;
    size_t size;
    uint8_t old[];
};

static void forget_undo(struct file_disk *self) {
    while (self->undo != NULL) {
        struct undo *next = self->undo->next;
        free(self->undo);
        self->undo = next;
    }
}

static void remember(struct file_disk *self, uint64_t offset, size_t size) {
    struct undo *undo = malloc(sizeof(*undo) + size);
    *undo = (struct undo){self->undo, offset, size};
    self->undo = undo;
    if (pread(self->file, undo->old, size, (off_t)offset) != (ssize_t)size)
        abort();
}

static void cut_power(struct file_disk *self) {
    unsigned lost = (unsigned)next_random(&self->dice) % 5; // of four sectors: none to all
    for (struct undo *undo = self->undo; undo != NULL; undo = undo->next)
        for (size_t at = 0; at < undo->size; at += SECTOR)
            if (next_random(&self->dice) % 4 < lost &&
                pwrite(self->file, undo->old + at, SECTOR, (off_t)(undo->offset + at)) != SECTOR)
                abort();
    forget_undo(self);
}

static int check(struct file_disk *self, uint64_t offset, size_t size) {
    if (self->writes_left == 0)
        return -EIO;
    if (offset % SECTOR != 0 || size % SECTOR != 0 || offset > self->disk.size ||
        size > self->disk.size - offset)
        return -EINVAL;
    return 0;
}

static int disk_read(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    struct file_disk *self = (struct file_disk *)disk;
    int status = check(self, offset, size);
    self->reads++;
    if (status < 0)
        return status;
    return pread(self->file, buffer, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

static int disk_write(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    struct file_disk *self = (struct file_disk *)disk;
    int status = check(self, offset, size);
    if (status == 0 && memory_is_short()) // which a kernel may need to get bytes to a device
        status = -ENOMEM;
    if (status < 0)
        return status;
    self->writes++;
    if (self->writes_left != UINT64_MAX)
        remember(self, offset, size);
    if (pwrite(self->file, data, size, (off_t)offset) != (ssize_t)size)
        return -EIO;
    if (self->writes_left != UINT64_MAX && --self->writes_left == 0) {
        cut_power(self);
        return -EIO;
    }
    return 0;
}

static int disk_flush(struct zfs_disk *disk) {
    struct file_disk *self = (struct file_disk *)disk;
    self->flushes++;
    forget_undo(self);
    return check(self, 0, 0);
}

void file_disk_open(struct file_disk *disk, const char *path) {
    struct stat info;
    *disk = (struct file_disk){.file = open(path, O_RDWR), .writes_left = UINT64_MAX};
    if (disk->file < 0 || fstat(disk->file, &info) < 0) {
        perror(path);
        exit(2);
    }
    disk->disk =
        (struct zfs_disk){(uint64_t)info.st_size & ~511ul, disk_read, disk_write, disk_flush, path};
}

void file_disk_cut(struct file_disk *disk, uint64_t writes, uint64_t seed) {
    forget_undo(disk);
    disk->writes_left = writes;
    disk->dice = seed;
}

void file_disk_close(struct file_disk *disk) {
    forget_undo(disk);
    close(disk->file);
}
