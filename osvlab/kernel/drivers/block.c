// Block devices by name, their partitions, and the checks every transfer passes.
//
// Invariant: a transfer that reaches a driver lies within its disk, is a whole number of
// sectors and, if it writes, goes to a disk that may be written. Devices are added and never
// removed, so the list may be walked at any time without a lock.

#include "block.h"

#include <string.h>

#include "arch.h"
#include "lock.h"
#include "memory.h"
#include "partition.h"
#include "print.h"

#define LARGEST_BUFFER (1UL << 30)

static struct list devices = LIST(devices);
static struct spinlock devices_lock = SPINLOCK("block devices");

static void add(struct block_device *device) {
    u64 flags = spin_lock(&devices_lock);

    list_append(&devices, &device->link);
    spin_unlock(&devices_lock, flags);
}

static void add_partition(struct block_device *disk, int index, const struct partition *p) {
    struct block_device *device = kzalloc(sizeof(*device));

    if (!device)
        return;
    format_string(device->name, sizeof(device->name), "%s.%d", disk->name, index);
    device->parent = disk;
    device->first_sector = p->first_sector;
    device->sectors = p->sectors;
    device->read_only = disk->read_only;
    debug("devfs: created device %s for a partition at offset:%lu with size:%lu\n", device->name,
          p->first_sector * SECTOR_SIZE, p->sectors * SECTOR_SIZE);
    add(device);
}

void block_register(struct block_device *disk) {
    struct partition partitions[PARTITIONS];

    add(disk);
    u8 *sector = kzalloc(SECTOR_SIZE);
    if (sector && block_read(disk, 0, sector, 1) == 0 &&
        partitions_read(sector, disk->sectors, partitions)) {
        for (int i = 0; i < PARTITIONS; i++) {
            if (partitions[i].present)
                add_partition(disk, i, &partitions[i]);
        }
    }
    kfree(sector);
}

struct block_device *block_find(const char *name) {
    LIST_EACH(&devices, device, struct block_device, link) {
        if (!strcmp(device->name, name))
            return device;
    }
    return NULL;
}

void block_each(void (*visit)(struct block_device *, void *), void *argument) {
    LIST_EACH(&devices, device, struct block_device, link)
    visit(device, argument);
}

// The sum of the segments in sectors, or -EINVAL.
static i64 sectors_of(const struct segment *segments, size_t count) {
    u64 bytes = 0;

    for (size_t i = 0; i < count; i++) {
        if (segments[i].size == 0 || segments[i].size % SECTOR_SIZE)
            return -EINVAL;
        bytes += segments[i].size;
    }
    return (i64)(bytes / SECTOR_SIZE);
}

int block_transfer(struct block_device *device, enum block_operation operation, u64 sector,
                   const struct segment *segments, size_t count) {
    i64 sectors = operation == BLOCK_FLUSH ? 0 : sectors_of(segments, count);

    if (sectors < 0 || (operation == BLOCK_FLUSH && count))
        return -EINVAL;
    if (operation == BLOCK_WRITE && device->read_only)
        return -EROFS;
    if (sector > device->sectors || (u64)sectors > device->sectors - sector)
        return -EIO;
    if (sectors == 0 && operation != BLOCK_FLUSH)
        return 0;
    if (device->parent)
        return block_transfer(device->parent, operation, device->first_sector + sector, segments,
                              count);
    return device->transfer(device, operation, sector, segments, count);
}

static int transfer_buffer(struct block_device *device, enum block_operation operation, u64 sector,
                           const void *buffer, size_t sectors) {
    if (sectors > LARGEST_BUFFER / SECTOR_SIZE)
        return -EINVAL;
    const struct segment segment = {VIRTUAL_TO_PHYSICAL(buffer), (u32)(sectors * SECTOR_SIZE)};
    return block_transfer(device, operation, sector, &segment, 1);
}

int block_read(struct block_device *device, u64 sector, void *buffer, size_t sectors) {
    return transfer_buffer(device, BLOCK_READ, sector, buffer, sectors);
}

int block_write(struct block_device *device, u64 sector, const void *buffer, size_t sectors) {
    return transfer_buffer(device, BLOCK_WRITE, sector, buffer, sectors);
}

#define PIECES 32

// The pieces of RAM behind the next part of `memory`; returns how many bytes they are.
static size_t find_pieces(u64 memory, size_t size, struct segment *pieces, size_t *count) {
    size_t done = 0;

    for (*count = 0; done < size && *count < PIECES; ++*count) {
        size_t piece = MIN(size - done, PAGE_SIZE - (memory + done) % PAGE_SIZE);
        u64 physical;
        if (!page_mapped(memory + done, &physical, NULL))
            break;
        pieces[*count] = (struct segment){physical + (memory + done) % PAGE_SIZE, (u32)piece};
        done += piece;
    }
    return done;
}

int block_bytes(struct block_device *device, enum block_operation operation, u64 offset,
                void *memory, size_t size) {
    bool linear = (u64)memory - LINEAR_BASE < LINEAR_SIZE;

    if (operation == BLOCK_FLUSH)
        return block_transfer(device, operation, 0, NULL, 0);
    if ((offset | size | (linear ? 0 : (u64)memory)) % SECTOR_SIZE)
        return -EINVAL;
    if (linear)
        return transfer_buffer(device, operation, offset / SECTOR_SIZE, memory, size / SECTOR_SIZE);
    for (size_t done = 0; done < size;) {
        struct segment pieces[PIECES];
        size_t count;
        size_t piece = find_pieces((u64)memory + done, size - done, pieces, &count);
        int status = piece == 0 ? -EFAULT
                                : block_transfer(device, operation, (offset + done) / SECTOR_SIZE,
                                                 pieces, count);
        if (status < 0)
            return status;
        done += piece;
    }
    return 0;
}
