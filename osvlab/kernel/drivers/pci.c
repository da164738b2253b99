// The PCI bus, by configuration mechanism 1: an address port and a data port (PCI Local Bus
// Specification 3.0, section 3.2.2.3). The firmware has placed all devices before we run.
//
// Invariant: configuration space is touched with the lock held, as an access is two steps.

#include "pci.h"

#include "lock.h"
#include "memory.h"
#include "print.h"

#define ADDRESS_PORT 0xcf8
#define DATA_PORT 0xcfc
#define ENABLE (1U << 31)

static struct spinlock pci_lock = SPINLOCK("pci");

static void select(const struct pci_device *d, unsigned offset) {
    outl(ADDRESS_PORT, ENABLE | d->bus << 16 | d->slot << 11 | d->function << 8 | (offset & 0xfc));
}

u32 pci_read(const struct pci_device *d, unsigned offset, unsigned size) {
    u64 flags = spin_lock(&pci_lock);

    select(d, offset);
    u32 value = inl(DATA_PORT) >> 8 * (offset & 3);
    spin_unlock(&pci_lock, flags);
    return size == 4 ? value : value & ((1U << 8 * size) - 1);
}

void pci_write(const struct pci_device *d, unsigned offset, unsigned size, u32 value) {
    u64 flags = spin_lock(&pci_lock);

    select(d, offset);
    if (size == 1)
        outb(DATA_PORT + (offset & 3), (u8)value);
    else if (size == 2)
        outw(DATA_PORT + (offset & 2), (u16)value);
    else
        outl(DATA_PORT, value);
    spin_unlock(&pci_lock, flags);
}

static bool pci_present(void) {
    outl(ADDRESS_PORT, ENABLE);
    return inl(ADDRESS_PORT) == ENABLE;
}

#define NOBODY 0xffff
#define HEADER_BRIDGE 1
#define HEADER_SEVERAL_FUNCTIONS 0x80

static void scan_bus(u8 bus, unsigned depth, void (*visit)(const struct pci_device *));

// False if there is nothing at this place.
static bool scan_function(struct pci_device *d, unsigned depth,
                          void (*visit)(const struct pci_device *)) {
    d->vendor = (u16)pci_read(d, PCI_VENDOR, 2);
    if (d->vendor == NOBODY)
        return false;
    d->device = (u16)pci_read(d, PCI_VENDOR + 2, 2);
    d->subsystem = (u16)pci_read(d, PCI_SUBSYSTEM, 2);
    if ((pci_read(d, PCI_HEADER_TYPE, 1) & 0x7f) != HEADER_BRIDGE) {
        visit(d);
        return true;
    }
    u8 behind = (u8)pci_read(d, PCI_SECONDARY_BUS, 1);
    if (behind > d->bus) // else the firmware has not set it up
        scan_bus(behind, depth + 1, visit);
    return true;
}

static void scan_bus(u8 bus, unsigned depth, void (*visit)(const struct pci_device *)) {
    if (depth > 8)
        return;
    for (u8 slot = 0; slot < 32; slot++) {
        struct pci_device first = {.bus = bus, .slot = slot};
        if (!scan_function(&first, depth, visit) ||
            !(pci_read(&first, PCI_HEADER_TYPE, 1) & HEADER_SEVERAL_FUNCTIONS))
            continue;
        for (u8 function = 1; function < 8; function++) {
            struct pci_device other = {.bus = bus, .slot = slot, .function = function};
            scan_function(&other, depth, visit);
        }
    }
}

void pci_each(void (*visit)(const struct pci_device *)) {
    if (pci_present())
        scan_bus(0, 0, visit);
}

#define STATUS_HAS_CAPABILITIES 0x10

unsigned pci_capability(const struct pci_device *d, u8 id, unsigned after) {
    unsigned at = after ? pci_read(d, after + 1, 1) : pci_read(d, PCI_CAPABILITIES, 1);

    if (!(pci_read(d, PCI_STATUS, 2) & STATUS_HAS_CAPABILITIES))
        return 0;
    for (int i = 0; i < 48; i++, at = pci_read(d, at + 1, 1)) { // 48 fit; a ring does not hold us
        at &= 0xfc;
        if (at < 0x40)
            return 0;
        if (pci_read(d, at, 1) == id)
            return at;
    }
    return 0;
}

#define BAR_IS_PORT 1
#define BAR_IS_64_BIT 4

bool pci_window(const struct pci_device *d, unsigned bar, struct pci_window *out) {
    unsigned offset = PCI_BAR + 4 * bar;

    if (bar > 5)
        return false;
    u32 command = pci_read(d, PCI_COMMAND, 2);
    u32 low = pci_read(d, offset, 4);
    bool wide = !(low & BAR_IS_PORT) && (low & 6) == BAR_IS_64_BIT && bar < 5;
    u64 high = wide ? pci_read(d, offset + 4, 4) : 0;

    // A register of all ones reads back the bits that choose the place: minus that is the size.
    pci_write(d, PCI_COMMAND, 2, command & ~3U); // meanwhile it must not answer
    pci_write(d, offset, 4, UINT32_MAX);
    u32 ones = pci_read(d, offset, 4);
    pci_write(d, offset, 4, low);
    pci_write(d, PCI_COMMAND, 2, command);

    u32 mask = low & BAR_IS_PORT ? ~3U : ~15U;
    out->is_port = low & BAR_IS_PORT;
    out->address = high << 32 | (low & mask);
    out->size = out->is_port ? -(ones & mask) & 0xffff : -(ones & mask);
    return out->address && out->size;
}

#define COMMAND_PORTS 1
#define COMMAND_MEMORY 2
#define COMMAND_BUS_MASTER 4
#define COMMAND_NO_LINE 0x400

void pci_enable(const struct pci_device *d) {
    u32 command = pci_read(d, PCI_COMMAND, 2);

    pci_write(d, PCI_COMMAND, 2, command | COMMAND_PORTS | COMMAND_MEMORY | COMMAND_BUS_MASTER);
}

#define MSIX_CONTROL 2 // offsets in the capability
#define MSIX_TABLE 4
#define MSIX_ENABLE 0x8000U
#define MSIX_MASK_ALL 0x4000U
#define MSIX_LAST_ENTRY 0x7ffU
#define MSIX_ENTRY 16UL // bytes

bool pci_msix_route(const struct pci_device *d, unsigned number, int vector) {
    unsigned at = pci_capability(d, PCI_CAPABILITY_MSIX, 0);
    struct pci_window window;

    if (!at)
        return false;
    u32 place = pci_read(d, at + MSIX_TABLE, 4);
    u64 offset = (place & ~7U) + number * MSIX_ENTRY;
    u32 control = pci_read(d, at + MSIX_CONTROL, 2);
    if (number > (control & MSIX_LAST_ENTRY) || !pci_window(d, place & 7, &window) ||
        window.is_port || offset + MSIX_ENTRY > window.size)
        return false;
    volatile u32 *entry = map_device(window.address + offset, MSIX_ENTRY);
    pci_write(d, at + MSIX_CONTROL, 2, control | MSIX_ENABLE | MSIX_MASK_ALL);
    entry[0] = (u32)msi_address();
    entry[1] = (u32)(msi_address() >> 32);
    entry[2] = msi_data(vector);
    entry[3] = 0; // not masked
    pci_write(d, at + MSIX_CONTROL, 2, (control | MSIX_ENABLE) & ~MSIX_MASK_ALL);
    pci_write(d, PCI_COMMAND, 2, pci_read(d, PCI_COMMAND, 2) | COMMAND_NO_LINE);
    return true;
}

// Interrupt lines are shared: each device on one is asked.
#define LINES 24
#define SHARERS 16

static struct sharer {
    unsigned line;
    interrupt_handler *handler;
    void *argument;
} sharers[SHARERS];
static size_t sharer_count;

static void line_interrupt(void *argument) {
    unsigned line = (unsigned)(u64)argument;

    for (size_t i = 0; i < sharer_count; i++) {
        if (sharers[i].line == line)
            sharers[i].handler(sharers[i].argument);
    }
}

static bool line_in_use(unsigned line) {
    for (size_t i = 0; i < sharer_count; i++) {
        if (sharers[i].line == line)
            return true;
    }
    return false;
}

int pci_line_route(const struct pci_device *d, interrupt_handler *handler, void *argument) {
    unsigned line = pci_read(d, PCI_INTERRUPT_LINE, 1);
    bool routed = line_in_use(line);

    if (line == 0 || line >= LINES || sharer_count == SHARERS)
        return -ENOSPC;
    sharers[sharer_count] = (struct sharer){line, handler, argument};
    sharer_count++;
    if (routed)
        return 0;
    int vector = interrupt_allocate(line_interrupt, (void *)(u64)line);
    if (vector < 0) {
        sharer_count--;
        return vector;
    }
    interrupt_route(line, vector, true, false);
    return 0;
}
