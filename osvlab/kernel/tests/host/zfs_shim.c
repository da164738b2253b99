#include "zfs_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

char shim_said[4096];
size_t shim_memory;
long shim_fail_after = -1;
static uint64_t random_state;

static void *allocate(size_t size) {
    if (shim_fail_after == 0)
        return NULL;
    if (shim_fail_after > 0)
        shim_fail_after--;
    shim_memory += size;
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

static void random_bytes(void *out, size_t size) {
    for (size_t i = 0; i < size; i++) {
        random_state = random_state * 6364136223846793005 + 1442695040888963407;
        ((uint8_t *)out)[i] = (uint8_t)(random_state >> 56);
    }
}

static void say(const char *message) {
    size_t length = strlen(message);
    fprintf(stderr, "%s\n", message);
    if (strlen(shim_said) + length + 2 > sizeof(shim_said))
        shim_said[0] = 0;
    strcat(strcat(shim_said, message), "\n");
}

static const struct zfs_services services = {
    .allocate = allocate, .free = give_back, .now = now, .random = random_bytes, .say = say};

void shim_start(uint64_t seed) {
    random_state = seed;
    zfs_services = &services;
}

// --- The disk

static int disk_read(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    struct file_disk *self = (struct file_disk *)disk;
    if (offset % 512 != 0 || size % 512 != 0 || offset > disk->size || size > disk->size - offset)
        return -EINVAL;
    return pread(self->file, buffer, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

static int disk_write(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    struct file_disk *self = (struct file_disk *)disk;
    if (offset % 512 != 0 || size % 512 != 0 || offset > disk->size || size > disk->size - offset)
        return -EINVAL;
    self->writes++;
    if (self->writes_left == 0)
        return 0;
    self->writes_left--;
    return pwrite(self->file, data, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

static int disk_flush(struct zfs_disk *disk) {
    ((struct file_disk *)disk)->flushes++;
    return 0;
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

void file_disk_close(struct file_disk *disk) {
    close(disk->file);
}
