// Virtio 1.x on PCI: registers in memory, where capabilities say (virtio 1.2 section 4.1.4).

#include "memory.h"
#include "virtio_pci.h"

enum { PART_COMMON = 1, PART_NOTIFY = 2, PART_INTERRUPT_STATUS = 3, PART_CONFIG = 4 };

enum { // offsets in the capability
    CAPABILITY_PART = 3,
    CAPABILITY_BAR = 4,
    CAPABILITY_OFFSET = 8,
    CAPABILITY_LENGTH = 12,
    CAPABILITY_NOTIFY_MULTIPLIER = 16,
};

enum { // registers of the common part
    COMMON_FEATURES_SELECT = 0x00,
    COMMON_FEATURES = 0x04,
    COMMON_ACCEPTED_SELECT = 0x08,
    COMMON_ACCEPTED = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFFSET = 0x1e,
    COMMON_QUEUE_DESCRIPTORS = 0x20, // 64 bits, like the next two
    COMMON_QUEUE_AVAILABLE = 0x28,
    COMMON_QUEUE_USED = 0x30,
    COMMON_SIZE = 0x38,
};

#define LARGEST_PART 0x10000UL

static u8 get8(struct virtio_device *d, size_t offset) {
    return virtio_pci_of(d)->common[offset];
}

static u16 get16(struct virtio_device *d, size_t offset) {
    return *(volatile u16 *)(virtio_pci_of(d)->common + offset);
}

static void set16(struct virtio_device *d, size_t offset, u16 value) {
    *(volatile u16 *)(virtio_pci_of(d)->common + offset) = value;
}

static u32 get32(struct virtio_device *d, size_t offset) {
    return *(volatile u32 *)(virtio_pci_of(d)->common + offset);
}

static void set32(struct virtio_device *d, size_t offset, u32 value) {
    *(volatile u32 *)(virtio_pci_of(d)->common + offset) = value;
}

static void set64(struct virtio_device *d, size_t offset, u64 value) {
    set32(d, offset, (u32)value);
    set32(d, offset + 4, (u32)(value >> 32));
}

static u8 modern_status(struct virtio_device *d) {
    return get8(d, COMMON_STATUS);
}

static void modern_set_status(struct virtio_device *d, u8 status) {
    virtio_pci_of(d)->common[COMMON_STATUS] = status;
}

static u64 modern_features(struct virtio_device *d) {
    set32(d, COMMON_FEATURES_SELECT, 0);
    u64 features = get32(d, COMMON_FEATURES);
    set32(d, COMMON_FEATURES_SELECT, 1);
    return features | (u64)get32(d, COMMON_FEATURES) << 32;
}

static void modern_accept_features(struct virtio_device *d, u64 features) {
    set32(d, COMMON_ACCEPTED_SELECT, 0);
    set32(d, COMMON_ACCEPTED, (u32)features);
    set32(d, COMMON_ACCEPTED_SELECT, 1);
    set32(d, COMMON_ACCEPTED, (u32)(features >> 32));
}

static u64 modern_read_config(struct virtio_device *d, size_t offset, size_t size) {
    volatile u8 *at = virtio_pci_of(d)->config + offset;

    if (offset + size > virtio_pci_of(d)->config_size)
        return 0;
    return size == 1 ? *at : size == 2 ? *(volatile u16 *)at : *(volatile u32 *)at;
}

static u8 modern_generation(struct virtio_device *d) {
    return get8(d, COMMON_GENERATION);
}

static u16 modern_queue_size(struct virtio_device *d, u16 queue) {
    set16(d, COMMON_QUEUE, queue);
    return get16(d, COMMON_QUEUE_SIZE);
}

static int modern_start_queue(struct virtio_device *d, u16 queue, u16 size, u64 physical) {
    struct virtio_pci_device *v = virtio_pci_of(d);

    set16(d, COMMON_QUEUE, queue);
    set16(d, COMMON_QUEUE_SIZE, size);
    set16(d, COMMON_CONFIG_VECTOR, VIRTIO_NO_VECTOR);
    set16(d, COMMON_QUEUE_VECTOR, v->msix ? 0 : VIRTIO_NO_VECTOR);
    if (v->msix && get16(d, COMMON_QUEUE_VECTOR) == VIRTIO_NO_VECTOR)
        return -ENODEV; // it has no room for the interrupt
    v->notify_offset[queue] = get16(d, COMMON_QUEUE_NOTIFY_OFFSET);
    if ((u64)v->notify_offset[queue] * v->notify_multiplier + 2 > v->notify_size)
        return -ENODEV;
    set64(d, COMMON_QUEUE_DESCRIPTORS, physical);
    set64(d, COMMON_QUEUE_AVAILABLE, physical + virtqueue_available_offset(size));
    set64(d, COMMON_QUEUE_USED, physical + virtqueue_used_offset(size));
    set16(d, COMMON_QUEUE_ENABLE, 1);
    return 0;
}

static void modern_notify(struct virtio_device *d, u16 queue) {
    struct virtio_pci_device *v = virtio_pci_of(d);

    *(volatile u16 *)(v->notify + (u64)v->notify_offset[queue] * v->notify_multiplier) = queue;
}

static int modern_watch_config(struct virtio_device *d) {
    int status = virtio_pci_route_config(virtio_pci_of(d));

    if (status < 0 || !virtio_pci_of(d)->msix)
        return status;
    set16(d, COMMON_CONFIG_VECTOR, VIRTIO_CONFIG_ENTRY);
    return get16(d, COMMON_CONFIG_VECTOR) == VIRTIO_CONFIG_ENTRY ? 0 : -ENODEV;
}

static const struct virtio_transport modern_transport = {
    .status = modern_status,
    .set_status = modern_set_status,
    .features = modern_features,
    .accept_features = modern_accept_features,
    .read_config = modern_read_config,
    .config_generation = modern_generation,
    .queue_size = modern_queue_size,
    .start_queue = modern_start_queue,
    .notify = modern_notify,
    .watch_config = modern_watch_config,
};

// Maps one part of the registers, at least `least` bytes of it, or NULL. *size is how many there
// are.
static volatile u8 *map_part(const struct pci_device *d, u8 part, u64 least, u64 *size,
                             unsigned *capability) {
    struct pci_window window;
    unsigned at = 0;

    while ((at = pci_capability(d, PCI_CAPABILITY_VENDOR, at)) != 0) {
        if (pci_read(d, at + CAPABILITY_PART, 1) != part)
            continue;
        u64 offset = pci_read(d, at + CAPABILITY_OFFSET, 4);
        *size = MIN(pci_read(d, at + CAPABILITY_LENGTH, 4), LARGEST_PART);
        *capability = at;
        // A device may offer a part several times; ones behind I/O ports are not for us.
        if (pci_window(d, pci_read(d, at + CAPABILITY_BAR, 1), &window) && !window.is_port &&
            *size >= least && offset + *size <= window.size)
            return map_device(window.address + offset, *size);
    }
    return NULL;
}

int virtio_pci_modern_open(struct virtio_pci_device *v) {
    unsigned capability;
    u64 size;

    v->common = map_part(&v->pci, PART_COMMON, COMMON_SIZE, &size, &capability);
    v->interrupt_status = map_part(&v->pci, PART_INTERRUPT_STATUS, 1, &size, &capability);
    v->config = map_part(&v->pci, PART_CONFIG, 4, &v->config_size, &capability);
    v->notify = map_part(&v->pci, PART_NOTIFY, 2, &v->notify_size, &capability);
    if (!v->common || !v->interrupt_status || !v->config || !v->notify)
        return -ENODEV;
    v->notify_multiplier = pci_read(&v->pci, capability + CAPABILITY_NOTIFY_MULTIPLIER, 4);
    v->device.transport = &modern_transport;
    return 0;
}

u8 virtio_pci_interrupt_status(struct virtio_pci_device *v) {
    return v->device.legacy ? inb(v->ports + 0x13) : *v->interrupt_status;
}
