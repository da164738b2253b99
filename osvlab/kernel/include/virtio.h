// Virtio devices, whatever bus they sit on (virtio 1.2, chapters 2 to 4).
#pragma once

#include "virtqueue.h"

enum { VIRTIO_NETWORK = 1, VIRTIO_BLOCK = 2 }; // device kinds, section 5

#define VIRTIO_ANY_LAYOUT (1UL << 27)
#define VIRTIO_RING_INDIRECT (1UL << 28)
#define VIRTIO_RING_EVENT_INDEX (1UL << 29)
#define VIRTIO_VERSION_1 (1UL << 32)

struct virtio_device;

// What a bus must be able to do. All may be called with interrupts off.
struct virtio_transport {
    u8 (*status)(struct virtio_device *);
    void (*set_status)(struct virtio_device *, u8 status); // 0 resets the device
    u64 (*features)(struct virtio_device *);
    void (*accept_features)(struct virtio_device *, u64 features);
    u64 (*read_config)(struct virtio_device *, size_t offset, size_t size); // 1, 2 or 4 bytes
    u8 (*config_generation)(struct virtio_device *);      // NULL if there is none (legacy)
    u16 (*queue_size)(struct virtio_device *, u16 queue); // the most entries; 0 = no such queue
    // Tells the device where the queue is: `physical` plus virtqueue_*_offset(size).
    int (*start_queue)(struct virtio_device *, u16 queue, u16 size, u64 physical);
    void (*notify)(struct virtio_device *, u16 queue);
    // Lets changes of the configuration interrupt. NULL if they do anyway.
    int (*watch_config)(struct virtio_device *);
};

struct virtio_device {
    u32 kind;
    const struct virtio_transport *transport;
    const char *bus; // for messages: "pci 00:03.0", "mmio 0xfeb00e00"
    bool legacy;     // the layout before virtio 1.0
    u64 accepted;    // features in use
    // Set by the driver before virtio_ready. Called with interrupts off; `changed`, of the
    // configuration, before `interrupt`.
    void (*interrupt)(struct virtio_device *);
    void (*changed)(struct virtio_device *);
    void *driver;
};

// Resets the device and agrees on features: those of `wanted` that it offers. 0 or -ENODEV.
int virtio_negotiate(struct virtio_device *device, u64 wanted);

// Makes and starts a queue of at most `wanted_size` entries. 0, -ENOMEM or -ENODEV.
int virtio_queue_create(struct virtio_device *device, u16 index, u16 wanted_size,
                        struct virtqueue *q);

void virtio_ready(struct virtio_device *device); // DRIVER_OK: the device may use its queues
void virtio_fail(struct virtio_device *device);  // stops the device for good

// From a bus: the device has interrupted.
void virtio_interrupted(struct virtio_device *device, bool config_changed);

// A 64-bit field of the configuration space, read in one piece.
u64 virtio_config64(struct virtio_device *device, size_t offset);

// The buses, and what they call for each device found.
void virtio_pci_probe(void);
void virtio_mmio_probe(void);
void virtio_found(struct virtio_device *device);

// Drivers. 0 if the device is taken.
int virtio_block_start(struct virtio_device *device);
int virtio_network_start(struct virtio_device *device);
