// Virtio 0.9 on PCI: registers in I/O ports, at the first base address (virtio 1.2 section
// 4.1.4.10). Some hosts still offer nothing else.

#include "virtio_pci.h"

#include "base.h"

enum {
    LEGACY_FEATURES = 0x00,
    LEGACY_ACCEPTED = 0x04,
    LEGACY_QUEUE_PAGE = 0x08,
    LEGACY_QUEUE_SIZE = 0x0c,
    LEGACY_QUEUE = 0x0e,
    LEGACY_NOTIFY = 0x10,
    LEGACY_STATUS = 0x12,
    LEGACY_INTERRUPT_STATUS = 0x13,
    LEGACY_CONFIG_VECTOR = 0x14, // these two only while MSI-X is on; it moves the configuration
    LEGACY_QUEUE_VECTOR = 0x16,
};

static u16 port(struct virtio_device *d, unsigned offset) {
    return (u16)(virtio_pci_of(d)->ports + offset);
}

static u8 legacy_status(struct virtio_device *d) {
    return inb(port(d, LEGACY_STATUS));
}

static void legacy_set_status(struct virtio_device *d, u8 status) {
    outb(port(d, LEGACY_STATUS), status);
}

static u64 legacy_features(struct virtio_device *d) {
    return inl(port(d, LEGACY_FEATURES));
}

static void legacy_accept_features(struct virtio_device *d, u64 features) {
    outl(port(d, LEGACY_ACCEPTED), (u32)features);
}

static u64 legacy_read_config(struct virtio_device *d, size_t offset, size_t size) {
    size_t at = (virtio_pci_of(d)->msix ? 0x18 : 0x14) + offset;

    if (at + size > virtio_pci_of(d)->port_count)
        return 0;
    return size == 1 ? inb(port(d, at)) : size == 2 ? inw(port(d, at)) : inl(port(d, at));
}

static u16 legacy_queue_size(struct virtio_device *d, u16 queue) {
    outw(port(d, LEGACY_QUEUE), queue);
    return inw(port(d, LEGACY_QUEUE_SIZE));
}

static int legacy_start_queue(struct virtio_device *d, u16 queue, u16 size, u64 physical) {
    (void)size; // the device has dictated it
    outw(port(d, LEGACY_QUEUE), queue);
    if (physical >> PAGE_SHIFT > UINT32_MAX)
        return -ENOMEM;
    if (virtio_pci_of(d)->msix) {
        outw(port(d, LEGACY_CONFIG_VECTOR), VIRTIO_NO_VECTOR);
        outw(port(d, LEGACY_QUEUE_VECTOR), 0);
        if (inw(port(d, LEGACY_QUEUE_VECTOR)) == VIRTIO_NO_VECTOR)
            return -ENODEV;
    }
    outl(port(d, LEGACY_QUEUE_PAGE), (u32)(physical >> PAGE_SHIFT));
    return 0;
}

static void legacy_notify(struct virtio_device *d, u16 queue) {
    outw(port(d, LEGACY_NOTIFY), queue);
}

static int legacy_watch_config(struct virtio_device *d) {
    int status = virtio_pci_route_config(virtio_pci_of(d));

    if (status < 0 || !virtio_pci_of(d)->msix)
        return status;
    outw(port(d, LEGACY_CONFIG_VECTOR), VIRTIO_CONFIG_ENTRY);
    return inw(port(d, LEGACY_CONFIG_VECTOR)) == VIRTIO_CONFIG_ENTRY ? 0 : -ENODEV;
}

static const struct virtio_transport legacy_transport = {
    .status = legacy_status,
    .set_status = legacy_set_status,
    .features = legacy_features,
    .accept_features = legacy_accept_features,
    .read_config = legacy_read_config,
    .queue_size = legacy_queue_size,
    .start_queue = legacy_start_queue,
    .notify = legacy_notify,
    .watch_config = legacy_watch_config,
};

int virtio_pci_legacy_open(struct virtio_pci_device *v) {
    struct pci_window window;

    if (!pci_window(&v->pci, 0, &window) || !window.is_port ||
        window.size < LEGACY_QUEUE_VECTOR + 2)
        return -ENODEV;
    v->ports = (u16)window.address;
    v->port_count = (u16)window.size;
    v->device.legacy = true;
    v->device.transport = &legacy_transport;
    return 0;
}
