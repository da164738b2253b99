// Disks: virtio block devices (virtio 1.2 section 5.2).
//
// A transfer is cut into requests of at most SEGMENTS pieces. All its requests are handed to
// the device before it is told, once; then the thread sleeps until the last is done. Under
// emulation each of these notifications is expensive, which is why reads should be large.
//
// Invariant: a request is on the free list, or is being filled by one thread, or belongs to the
// device; only the interrupt handler brings it back, and the memory it names stays put until
// then. The device's word is taken for one byte only: the request's status.

#include <string.h>

#include "block.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "virtio.h"

#define FEATURE_SEGMENTS_MOST (1UL << 2)
#define FEATURE_READ_ONLY (1UL << 5)
#define FEATURE_FLUSH (1UL << 9)

enum { CONFIG_CAPACITY = 0, CONFIG_SEGMENTS_MOST = 12 };
enum { REQUEST_READ = 0, REQUEST_WRITE = 1, REQUEST_FLUSH = 4 };
enum { STATUS_OK = 0, STATUS_UNKNOWN = 0xff };

#define QUEUE_SIZE 128
#define REQUESTS 8
#define SEGMENTS 32

struct transfer { // on the stack of the thread that sleeps for it
    volatile unsigned pending;
    volatile int status;
};

struct request {
    struct { // what the device reads first
        u32 type, reserved;
        u64 sector;
    } header;
    volatile u8 status; // what it writes last
    struct virtqueue_descriptor table[SEGMENTS + 2] __attribute__((aligned(16)));
    struct list link;
    struct transfer *transfer;
};

struct disk {
    struct block_device block;
    struct virtio_device *device;
    struct spinlock lock; // queue, free list, transfers
    struct virtqueue queue;
    struct list free;
    struct wait_queue changed; // a request was freed, or a transfer's last one is done
    size_t segments_most;      // in one request
    bool indirect, flush, failed;
    struct request requests[REQUESTS];
};

// With the lock held.
static void finish(struct disk *disk, struct request *r, int status) {
    if (status < 0)
        r->transfer->status = status;
    r->transfer->pending--;
    list_append(&disk->free, &r->link);
}

// The device broke the rules: nothing it does can be trusted any more.
static void fail(struct disk *disk) {
    struct request *r;

    disk->failed = true;
    virtio_fail(disk->device);
    while ((r = virtqueue_reclaim(&disk->queue)) != NULL)
        finish(disk, r, -EIO);
}

static void disk_interrupt(struct virtio_device *device) {
    struct disk *disk = device->driver;
    struct request *r;
    u64 flags = spin_lock(&disk->lock);

    do {
        while ((r = virtqueue_take(&disk->queue, NULL)) != NULL)
            finish(disk, r, r->status == STATUS_OK ? 0 : -EIO);
    } while (!virtqueue_wait_for_next(&disk->queue));
    bool broken = disk->queue.broken && !disk->failed;
    if (broken)
        fail(disk);
    spin_unlock(&disk->lock, flags);
    wait_wake_all(&disk->changed);
    if (broken)
        kprintf("%s: the device returned a request it never had; it is switched off\n",
                disk->block.name);
}

static bool have_request(struct disk *disk) {
    return disk->failed || !list_empty(&disk->free);
}

static void notify(struct disk *disk) {
    u64 flags = spin_lock(&disk->lock);

    if (!disk->failed && virtqueue_must_notify(&disk->queue))
        disk->device->transport->notify(disk->device, 0);
    spin_unlock(&disk->lock, flags);
}

// A free request, or NULL when the disk has failed. What was queued so far is announced
// before sleeping, else nobody would ever free one.
static struct request *take_request(struct disk *disk) {
    for (;;) {
        u64 flags = spin_lock(&disk->lock);
        struct request *r = disk->failed ? NULL : LIST_FIRST(&disk->free, struct request, link);
        bool stop = r || disk->failed;
        if (r)
            list_remove(&r->link);
        spin_unlock(&disk->lock, flags);
        if (stop)
            return r;
        notify(disk);
        WAIT_FOR(&disk->changed, have_request(disk), NEVER, false);
    }
}

static u64 physical_in(struct request *r, size_t offset) {
    return VIRTUAL_TO_PHYSICAL(r) + offset;
}

// What remains of a list of segments.
struct pieces {
    const struct segment *next;
    size_t count;
};

// Moves segments into buffers, neighbours in memory as one. Returns the bytes, and how many
// buffers in *count.
static u64 gather(struct disk *disk, struct pieces *from, struct virtqueue_buffer *buffers,
                  u16 *count, bool in) {
    u64 bytes = 0;
    u16 n = 0;

    for (; from->count; from->next++, from->count--) {
        const struct segment *s = from->next;
        struct virtqueue_buffer *last = n ? &buffers[n - 1] : NULL;
        if (last && last->physical + last->size == s->physical &&
            last->size + s->size > last->size) {
            last->size += s->size;
        } else if (n == disk->segments_most) {
            break;
        } else {
            buffers[n++] = (struct virtqueue_buffer){s->physical, s->size, in};
        }
        bytes += s->size;
    }
    *count = n;
    return bytes;
}

// Hands one request to the device. The queue always has room: see disk_create.
static void submit(struct disk *disk, struct request *r, const struct virtqueue_buffer *buffers,
                   u16 count) {
    u64 flags = spin_lock(&disk->lock);

    r->transfer->pending++;
    if (disk->failed ||
        virtqueue_add(&disk->queue, buffers, count, disk->indirect ? r->table : NULL,
                      physical_in(r, offsetof(struct request, table)), r) < 0)
        finish(disk, r, -EIO);
    spin_unlock(&disk->lock, flags);
}

static u64 send(struct disk *disk, struct transfer *t, enum block_operation operation, u64 sector,
                struct pieces *pieces) {
    struct virtqueue_buffer buffers[SEGMENTS + 2];
    struct request *r = take_request(disk);
    u16 count = 0;

    if (!r) {
        t->status = -EIO;
        return 0;
    }
    u64 bytes = gather(disk, pieces, buffers + 1, &count, operation == BLOCK_READ);
    r->transfer = t;
    r->header.type = operation == BLOCK_READ    ? REQUEST_READ
                     : operation == BLOCK_WRITE ? REQUEST_WRITE
                                                : REQUEST_FLUSH;
    r->header.sector = sector;
    r->status = STATUS_UNKNOWN;
    buffers[0] = (struct virtqueue_buffer){physical_in(r, offsetof(struct request, header)),
                                           sizeof(r->header), false};
    buffers[count + 1] =
        (struct virtqueue_buffer){physical_in(r, offsetof(struct request, status)), 1, true};
    submit(disk, r, buffers, count + 2);
    return bytes;
}

static int disk_transfer(struct block_device *device, enum block_operation operation, u64 sector,
                         const struct segment *segments, size_t count) {
    struct disk *disk = device->driver;
    struct transfer transfer = {0};
    struct pieces pieces = {segments, count};

    if (operation == BLOCK_FLUSH && !disk->flush)
        return 0; // every write is durable when it is done
    do
        sector += send(disk, &transfer, operation, sector, &pieces) / SECTOR_SIZE;
    while (pieces.count && !transfer.status);
    notify(disk);
    WAIT_FOR(&disk->changed, transfer.pending == 0, NEVER, false);
    return transfer.status;
}

// As many requests as the queue has room for, so that submitting never fails.
static void fill_free_list(struct disk *disk) {
    size_t needed = disk->indirect ? 1 : disk->segments_most + 2;
    size_t requests = MIN(disk->queue.size / needed, (size_t)REQUESTS);

    list_init(&disk->free);
    for (size_t i = 0; i < requests; i++)
        list_append(&disk->free, &disk->requests[i].link);
}

static size_t segment_limit(struct virtio_device *device) {
    u64 most = SEGMENTS;

    if (device->accepted & FEATURE_SEGMENTS_MOST)
        most = MIN(most, device->transport->read_config(device, CONFIG_SEGMENTS_MOST, 4));
    return MAX(most, 1UL);
}

static int disk_create(struct disk *disk, struct virtio_device *device) {
    u64 wanted = VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_INDEX | FEATURE_SEGMENTS_MOST |
                 FEATURE_READ_ONLY | FEATURE_FLUSH;
    int status = virtio_negotiate(device, wanted);

    disk->device = device;
    disk->lock = (struct spinlock)SPINLOCK("disk");
    wait_queue_init(&disk->changed, "disk");
    device->driver = disk;
    device->interrupt = disk_interrupt;
    if (status == 0)
        status = virtio_queue_create(device, 0, QUEUE_SIZE, &disk->queue);
    if (status < 0)
        return status;
    disk->indirect = device->accepted & VIRTIO_RING_INDIRECT;
    disk->flush = device->accepted & FEATURE_FLUSH;
    disk->segments_most = segment_limit(device);
    if (!disk->indirect)
        disk->segments_most = MIN(disk->segments_most, disk->queue.size - 2UL);
    if (disk->queue.size < 4)
        return -ENODEV;
    fill_free_list(disk);
    return 0;
}

int virtio_block_start(struct virtio_device *device) {
    static unsigned number;
    struct disk *disk = kzalloc(sizeof(*disk));

    if (!disk)
        return -ENOMEM;
    int status = disk_create(disk, device);
    if (status < 0) {
        virtio_fail(device);
        device->interrupt = NULL;
        kfree(disk);
        return status;
    }
    virtio_ready(device);
    format_string(disk->block.name, sizeof(disk->block.name), "vblk%u", number++);
    disk->block.sectors = virtio_config64(device, CONFIG_CAPACITY);
    disk->block.read_only = device->accepted & FEATURE_READ_ONLY;
    disk->block.driver = disk;
    disk->block.transfer = disk_transfer;
    debug("%s: %lu sectors%s at %s%s\n", disk->block.name, disk->block.sectors,
          disk->block.read_only ? ", read-only," : "", device->bus,
          device->legacy ? " (legacy)" : "");
    block_register(&disk->block);
    return 0;
}
