// Disks and partitions as files: /dev/vblk0, /dev/vblk0.1.
//
// The numbers are 254:n in the order of registration. Reads and writes may begin anywhere: all
// goes through a buffer of whole sectors.

#include "vnode.h"

#include <sys/ioctl.h>

#include "block.h"

#define MAJOR 254
#define BUFFER_PAGES 8
#define BUFFER_SIZE (BUFFER_PAGES * PAGE_SIZE)
#define BLKROGET 0x125E
#define BLKGETSIZE 0x1260
#define BLKFLSBUF 0x1261
#define BLKSSZGET 0x1268
#define BLKGETSIZE64 0x80081272

struct search {
    u64 number, index;
    const struct block_device *device;
    struct block_device *found;
};

// Numbers follow from the order of registration.
static void number_step(struct block_device *device, void *argument) {
    struct search *search = argument;
    if (search->found != NULL)
        return;
    if (search->device == device || search->index == search->number)
        search->found = device;
    else
        search->index++;
}

u64 block_number(const struct block_device *device) {
    struct search search = {.number = UINT64_MAX, .device = device};
    block_each(number_step, &search);
    return makedev(MAJOR, search.index);
}

struct block_device *block_of(u64 number) {
    struct search search = {.number = minor(number)};
    if (major(number) != MAJOR)
        return NULL;
    block_each(number_step, &search);
    return search.found;
}

// One piece: the sectors around [at, at + size) go through the buffer.
static int transfer_piece(struct block_device *device, u64 at, u8 *buffer, void *user, size_t size,
                          bool write) {
    u64 first = at / SECTOR_SIZE, end = ALIGN_UP(at + size, SECTOR_SIZE) / SECTOR_SIZE;
    bool partial = at % SECTOR_SIZE != 0 || (at + size) % SECTOR_SIZE != 0;
    int status = 0;
    if (!write || partial)
        status = block_read(device, first, buffer, end - first);
    if (status < 0)
        return status;
    if (!write)
        return user_write(user, buffer + at % SECTOR_SIZE, size);
    status = user_read(buffer + at % SECTOR_SIZE, user, size);
    return status < 0 ? status : block_write(device, first, buffer, end - first);
}

static long transfer(struct file *file, void *user, size_t size, u64 *position, bool write) {
    struct block_device *device = block_of(file->vnode->device);
    if (device == NULL)
        return -ENXIO;
    u64 end = device->sectors * SECTOR_SIZE;
    if (*position >= end)
        return write && size > 0 ? -ENOSPC : 0;
    size = MIN(size, end - *position);
    u8 *buffer = pages_allocate(BUFFER_PAGES);
    if (buffer == NULL)
        return -ENOMEM;
    size_t done = 0;
    int status = 0;
    while (done < size && status == 0) {
        size_t piece = MIN(size - done, BUFFER_SIZE - *position % SECTOR_SIZE);
        status = transfer_piece(device, *position, buffer, (u8 *)user + done, piece, write);
        if (status == 0) {
            done += piece;
            *position += piece;
        }
    }
    pages_free(buffer, BUFFER_PAGES);
    return done > 0 ? (long)done : status;
}

static long block_file_read(struct file *file, void *buffer, size_t size, u64 *position) {
    return transfer(file, buffer, size, position, false);
}

static long block_file_write(struct file *file, const void *buffer, size_t size, u64 *position) {
    return transfer(file, (void *)buffer, size, position, true);
}

int block_file_flush(struct vnode *vnode) {
    struct block_device *device = block_of(vnode->device);
    return device ? block_transfer(device, BLOCK_FLUSH, 0, NULL, 0) : -ENXIO;
}

static long block_file_ioctl(struct file *file, unsigned command, u64 argument) {
    struct block_device *device = block_of(file->vnode->device);
    if (device == NULL)
        return -ENXIO;
    u64 value = device->sectors * (command == BLKGETSIZE64 ? SECTOR_SIZE : 1);
    int small = command == BLKROGET ? device->read_only : (int)SECTOR_SIZE;
    switch (command) {
    case BLKGETSIZE64:
    case BLKGETSIZE:
        return user_write((void *)argument, &value, sizeof(value));
    case BLKSSZGET:
    case BLKROGET:
        return user_write((void *)argument, &small, sizeof(small));
    case BLKFLSBUF:
        return block_file_flush(file->vnode);
    default:
        return -ENOTTY;
    }
}

static int block_file_open(struct file *file) {
    struct block_device *device = block_of(file->vnode->device);
    return device->read_only && file_writable(file) ? -EROFS : 0;
}

const struct file_operations block_operations = {
    .open = block_file_open,
    .read = block_file_read,
    .write = block_file_write,
    .ioctl = block_file_ioctl,
};
