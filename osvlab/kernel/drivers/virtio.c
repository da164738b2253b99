// Bringing a virtio device up: the steps of virtio 1.2 section 3.1, the same on every bus.

#include "virtio.h"

#include "drivers.h"
#include "memory.h"
#include "print.h"

enum {
    STATUS_ACKNOWLEDGE = 1, // we see a device
    STATUS_DRIVER = 2,      // we know how to drive it
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
    STATUS_FAILED = 128,
};

static void add_status(struct virtio_device *d, u8 bit) {
    d->transport->set_status(d, d->transport->status(d) | bit);
}

static int reset(struct virtio_device *d) {
    d->transport->set_status(d, 0);
    for (int i = 0; d->transport->status(d) != 0; i++) {
        if (i == 100000)
            return -ENODEV;
        __asm__ volatile("pause");
    }
    return 0;
}

int virtio_negotiate(struct virtio_device *d, u64 wanted) {
    if (reset(d) < 0)
        return -ENODEV;
    add_status(d, STATUS_ACKNOWLEDGE);
    add_status(d, STATUS_DRIVER);
    u64 offered = d->transport->features(d);
    d->accepted = offered & (wanted | (d->legacy ? 0 : VIRTIO_VERSION_1));
    d->transport->accept_features(d, d->accepted);
    if (d->legacy)
        return 0;
    add_status(d, STATUS_FEATURES_OK);
    bool agreed =
        (d->accepted & VIRTIO_VERSION_1) && (d->transport->status(d) & STATUS_FEATURES_OK);
    return agreed ? 0 : -ENODEV;
}

int virtio_queue_create(struct virtio_device *d, u16 index, u16 wanted_size, struct virtqueue *q) {
    u16 most = d->transport->queue_size(d, index);
    // A legacy device dictates the size.
    u16 size = d->legacy ? most : MIN(most, wanted_size);

    if (size == 0 || size > 32768 || (size & (size - 1)))
        return -ENODEV;
    size_t pages = ALIGN_UP(virtqueue_bytes(size), PAGE_SIZE) / PAGE_SIZE;
    void *memory = pages_allocate(pages);
    struct virtqueue_chain *chains = kzalloc(size * sizeof(*chains));
    if (!memory || !chains) {
        if (memory)
            pages_free(memory, pages);
        kfree(chains);
        return -ENOMEM;
    }
    virtqueue_init(q, size, memory, chains, d->accepted & VIRTIO_RING_EVENT_INDEX);
    return d->transport->start_queue(d, index, size, VIRTUAL_TO_PHYSICAL(memory));
}

void virtio_ready(struct virtio_device *d) {
    if (d->changed && d->transport->watch_config && d->transport->watch_config(d) < 0)
        debug("virtio: changes of the device at %s will not be noticed\n", d->bus);
    add_status(d, STATUS_DRIVER_OK);
}

void virtio_fail(struct virtio_device *d) {
    reset(d);
    add_status(d, STATUS_FAILED);
}

void virtio_interrupted(struct virtio_device *d, bool config_changed) {
    if (config_changed && d->changed)
        d->changed(d);
    if (d->interrupt)
        d->interrupt(d);
}

u64 virtio_config64(struct virtio_device *d, size_t offset) {
    const struct virtio_transport *t = d->transport;
    u64 value;
    u8 before;

    // A change between the two halves changes the generation (section 2.5.1).
    for (int i = 0; i < 100; i++) {
        before = t->config_generation ? t->config_generation(d) : 0;
        value = t->read_config(d, offset, 4) | t->read_config(d, offset + 4, 4) << 32;
        if (!t->config_generation || t->config_generation(d) == before)
            break;
    }
    return value;
}

void virtio_found(struct virtio_device *d) {
    int status = -ENODEV;

    if (d->kind == VIRTIO_BLOCK)
        status = virtio_block_start(d);
    else if (d->kind == VIRTIO_NETWORK)
        status = virtio_network_start(d);
    if (status < 0)
        debug("virtio: no driver takes the device of kind %u at %s (%d)\n", d->kind, d->bus,
              status);
}

void drivers_probe(void) {
    virtio_mmio_probe();
    virtio_pci_probe();
}
