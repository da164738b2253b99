// PCI devices: configuration space, base addresses, interrupts (PCI Local Bus 3.0).
#pragma once

#include "base.h"
#include "interrupt.h"

struct pci_device {
    u8 bus, slot, function;
    u16 vendor, device, subsystem;
};

enum {
    PCI_VENDOR = 0x00,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_CLASS = 0x0a,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR = 0x10,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
};

enum { PCI_CAPABILITY_VENDOR = 0x09, PCI_CAPABILITY_MSIX = 0x11 };

u32 pci_read(const struct pci_device *d, unsigned offset, unsigned size); // size 1, 2 or 4
void pci_write(const struct pci_device *d, unsigned offset, unsigned size, u32 value);

// Visits every function on every bus behind the first, in order. Nothing if there is no PCI.
void pci_each(void (*visit)(const struct pci_device *));

// The capability with this id after `after` (0 = the first): its offset, or 0.
unsigned pci_capability(const struct pci_device *d, u8 id, unsigned after);

// Where a base address register leads.
struct pci_window {
    bool is_port; // I/O ports rather than memory
    u64 address, size;
};
bool pci_window(const struct pci_device *d, unsigned bar, struct pci_window *out);

// Lets the device answer, and write to memory.
void pci_enable(const struct pci_device *d);

// Sends an entry of the MSI-X table to a vector. False if the device has no such entry.
bool pci_msix_route(const struct pci_device *d, unsigned entry, int vector);

// Calls `handler` on the device's interrupt line, which it may share. 0 or -ENOSPC.
int pci_line_route(const struct pci_device *d, interrupt_handler *handler, void *argument);
