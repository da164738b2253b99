// Finding virtio devices on PCI, and their interrupts (virtio 1.2 section 4.1).
//
// A device may speak both generations ("transitional"); the modern one is preferred.

#include "virtio_pci.h"

#include "memory.h"
#include "print.h"

#define VIRTIO_VENDOR 0x1af4
#define FIRST_TRANSITIONAL 0x1000
#define FIRST_MODERN 0x1040
#define LAST_DEVICE 0x107f

enum { STATUS_QUEUE = 1, STATUS_CONFIG = 2 }; // of an interrupt that came by line

// With MSI-X there is nobody to share with and nothing to acknowledge.
static void message_interrupt(void *argument) {
    struct virtio_pci_device *v = argument;

    virtio_interrupted(&v->device, false);
}

static void config_interrupt(void *argument) {
    struct virtio_pci_device *v = argument;

    virtio_interrupted(&v->device, true);
}

int virtio_pci_route_config(struct virtio_pci_device *v) {
    if (!v->msix)
        return 0;
    int vector = interrupt_allocate(config_interrupt, v);
    return vector >= 0 && pci_msix_route(&v->pci, VIRTIO_CONFIG_ENTRY, vector) ? 0 : -ENODEV;
}

static void line_interrupt(void *argument) {
    struct virtio_pci_device *v = argument;

    u8 why = virtio_pci_interrupt_status(v);
    if (why & (STATUS_QUEUE | STATUS_CONFIG))
        virtio_interrupted(&v->device, why & STATUS_CONFIG);
}

static int route_interrupt(struct virtio_pci_device *v) {
    if (pci_capability(&v->pci, PCI_CAPABILITY_MSIX, 0)) {
        int vector = interrupt_allocate(message_interrupt, v);
        if (vector >= 0 && pci_msix_route(&v->pci, 0, vector)) {
            v->msix = true;
            return 0;
        }
    }
    return pci_line_route(&v->pci, line_interrupt, v);
}

// Transitional devices say what they are in the subsystem id, modern ones in the device id.
static u32 kind_of(const struct pci_device *d) {
    return d->device >= FIRST_MODERN ? d->device - FIRST_MODERN : d->subsystem;
}

static void visit(const struct pci_device *d) {
    if (d->vendor != VIRTIO_VENDOR || d->device < FIRST_TRANSITIONAL || d->device > LAST_DEVICE)
        return;
    if (kind_of(d) != VIRTIO_BLOCK && kind_of(d) != VIRTIO_NETWORK)
        return; // left alone: there is no driver
    struct virtio_pci_device *v = kzalloc(sizeof(*v));
    if (!v)
        return;
    v->pci = *d;
    v->device.kind = kind_of(d);
    v->device.bus = v->name;
    format_string(v->name, sizeof(v->name), "pci %02x:%02x.%u", d->bus, d->slot, d->function);
    pci_enable(d);
    if ((virtio_pci_modern_open(v) < 0 && virtio_pci_legacy_open(v) < 0) ||
        route_interrupt(v) < 0) {
        debug("virtio: the device at %s has no registers or no interrupt we can use\n", v->name);
        return; // an interrupt handler may refer to it, so it stays
    }
    virtio_found(&v->device);
}

void virtio_pci_probe(void) {
    pci_each(visit);
}
