// What the two generations of virtio on PCI have in common.
#pragma once

#include "pci.h"
#include "virtio.h"

#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_PCI_QUEUES 2 // the most that a driver of ours uses

struct virtio_pci_device {
    struct virtio_device device;
    struct pci_device pci;
    char name[16];
    bool msix;

    volatile u8 *common, *interrupt_status, *config; // modern: memory
    volatile u8 *notify;
    u64 config_size, notify_size;
    u32 notify_multiplier;
    u16 notify_offset[VIRTIO_PCI_QUEUES]; // as the device tells
    u16 ports, port_count;                // legacy: I/O ports
};

static inline struct virtio_pci_device *virtio_pci_of(struct virtio_device *d) {
    return CONTAINER_OF(d, struct virtio_pci_device, device);
}

// 0 if the device has the registers of that generation.
int virtio_pci_modern_open(struct virtio_pci_device *v);
int virtio_pci_legacy_open(struct virtio_pci_device *v);

// Routes the second MSI-X entry to the driver's `changed`, for the device to be told of it; by line
// there is nothing to do. 0, or -errno.
#define VIRTIO_CONFIG_ENTRY 1
int virtio_pci_route_config(struct virtio_pci_device *v);

// Reading it acknowledges an interrupt that came by line.
u8 virtio_pci_interrupt_status(struct virtio_pci_device *v);
