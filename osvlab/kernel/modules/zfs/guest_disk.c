// A block device as ZFS sees it, and what else ZFS asks of the kernel.

#include "guest.h"

#define SMALL 2016UL // the largest object of the kernel's heap that shares a page

static struct block_device *device_of(struct zfs_disk *disk) {
    return CONTAINER_OF(disk, struct guest_disk, zfs)->device;
}

static bool is_linear(const void *memory) {
    return (u64)memory - LINEAR_BASE < LINEAR_SIZE;
}

// What lies on a stack, or anywhere, goes by way of memory that a device may be given.
static int transfer(struct zfs_disk *disk, enum block_operation operation, uint64_t offset,
                    void *memory, size_t size) {
    if (is_linear(memory) || (u64)memory % SECTOR_SIZE == 0)
        return core->block_bytes(device_of(disk), operation, offset, memory, size);
    void *straight = core->kzalloc(size);
    if (straight == NULL)
        return -ENOMEM;
    if (operation == BLOCK_WRITE)
        memcpy(straight, memory, size);
    int status = core->block_bytes(device_of(disk), operation, offset, straight, size);
    if (operation == BLOCK_READ && status == 0)
        memcpy(memory, straight, size);
    core->kfree(straight);
    return status;
}

static int disk_read(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    return transfer(disk, BLOCK_READ, offset, buffer, size);
}

static int disk_write(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    return transfer(disk, BLOCK_WRITE, offset, (void *)data, size);
}

static int disk_flush(struct zfs_disk *disk) {
    return core->block_bytes(device_of(disk), BLOCK_FLUSH, 0, NULL, 0);
}

int guest_disk_open(struct guest_disk *disk, const char *path) {
    disk->device = core->block_find(strncmp(path, "/dev/", 5) == 0 ? path + 5 : path);
    if (disk->device == NULL)
        return -ENXIO;
    disk->zfs = (struct zfs_disk){.size = disk->device->sectors * SECTOR_SIZE,
                                  .read = disk_read,
                                  .write = disk_write,
                                  .flush = disk_flush,
                                  .path = path};
    return 0;
}

// Blocks are as large as records. A run of frames is the fastest; memory that is scattered is
// always to be had.
static void *allocate(size_t size) {
    if (size <= SMALL)
        return core->kzalloc(size);
    void *memory = core->pages_allocate(ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE);
    return memory != NULL ? memory : core->memory_map(size);
}

static void release(void *memory, size_t size) {
    if (memory == NULL || size <= SMALL)
        core->kfree(memory);
    else if (is_linear(memory))
        core->pages_free(memory, ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE);
    else
        core->memory_unmap(memory);
}

static void say(const char *message) {
    core->kprintf("%s\n", message);
}

static uint64_t now(void) {
    return core->clock_realtime();
}

static void random(void *out, size_t size) {
    core->random_bytes(out, size);
}

const struct zfs_services guest_services = {
    .allocate = allocate, .free = release, .now = now, .random = random, .say = say};
