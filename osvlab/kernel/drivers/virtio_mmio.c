// Virtio devices that are plain registers in memory (virtio 1.2 section 4.2).
//
// Nothing announces them but the command line: QEMU's microvm and Firecracker append
//     virtio_mmio.device=SIZE[K|M]@ADDRESS:IRQ[:ID]
// for each (Linux's form, Documentation/admin-guide/kernel-parameters.txt). These words are
// not for us to parse as options, so they are taken off before anybody else reads the line.

#include <string.h>

#include "drivers.h"
#include "interrupt.h"
#include "memory.h"
#include "print.h"
#include "virtio.h"

#define PREFIX "virtio_mmio.device="
#define DEVICES 32
#define SMALLEST_WINDOW 0x100UL // the registers before the configuration space
#define IO_APIC_LINES 24

enum {
    REGISTER_MAGIC = 0x00, // "virt"
    REGISTER_VERSION = 0x04,
    REGISTER_KIND = 0x08,
    REGISTER_FEATURES = 0x10,
    REGISTER_FEATURES_SELECT = 0x14,
    REGISTER_ACCEPTED = 0x20,
    REGISTER_ACCEPTED_SELECT = 0x24,
    REGISTER_LEGACY_PAGE_SIZE = 0x28,
    REGISTER_QUEUE = 0x30, // which one the queue registers mean
    REGISTER_QUEUE_SIZE_MOST = 0x34,
    REGISTER_QUEUE_SIZE = 0x38,
    REGISTER_LEGACY_QUEUE_ALIGN = 0x3c,
    REGISTER_LEGACY_QUEUE_PAGE = 0x40,
    REGISTER_QUEUE_READY = 0x44,
    REGISTER_NOTIFY = 0x50,
    REGISTER_INTERRUPT_STATUS = 0x60,
    REGISTER_INTERRUPT_ACKNOWLEDGE = 0x64,
    REGISTER_STATUS = 0x70,
    REGISTER_QUEUE_DESCRIPTORS = 0x80, // 64 bits, like the next two
    REGISTER_QUEUE_AVAILABLE = 0x90,
    REGISTER_QUEUE_USED = 0xa0,
    REGISTER_CONFIG_GENERATION = 0xfc,
    REGISTER_CONFIG = 0x100,
};

#define MAGIC 0x74726976
#define INTERRUPT_CONFIG 2U // in the interrupt status: the configuration has changed

struct window {
    u64 address, size;
    unsigned irq;
};

struct mmio_device {
    struct virtio_device device;
    volatile u8 *registers;
    u64 size;
    char name[32];
};

static struct window windows[DEVICES];
static size_t window_count;

static struct mmio_device *of(struct virtio_device *d) {
    return CONTAINER_OF(d, struct mmio_device, device);
}

static u32 get(const struct mmio_device *m, size_t offset) {
    return *(volatile u32 *)(m->registers + offset);
}

static void set(const struct mmio_device *m, size_t offset, u32 value) {
    *(volatile u32 *)(m->registers + offset) = value;
}

static u8 mmio_status(struct virtio_device *d) {
    return (u8)get(of(d), REGISTER_STATUS);
}

static void mmio_set_status(struct virtio_device *d, u8 status) {
    set(of(d), REGISTER_STATUS, status);
}

static u64 mmio_features(struct virtio_device *d) {
    u64 features = 0;

    for (u32 half = 0; half < (d->legacy ? 1 : 2); half++) {
        set(of(d), REGISTER_FEATURES_SELECT, half);
        features |= (u64)get(of(d), REGISTER_FEATURES) << 32 * half;
    }
    return features;
}

static void mmio_accept_features(struct virtio_device *d, u64 features) {
    for (u32 half = 0; half < (d->legacy ? 1 : 2); half++) {
        set(of(d), REGISTER_ACCEPTED_SELECT, half);
        set(of(d), REGISTER_ACCEPTED, (u32)(features >> 32 * half));
    }
}

static u64 mmio_read_config(struct virtio_device *d, size_t offset, size_t size) {
    volatile u8 *at = of(d)->registers + REGISTER_CONFIG + offset;

    if (REGISTER_CONFIG + offset + size > of(d)->size)
        return 0;
    return size == 1 ? *at : size == 2 ? *(volatile u16 *)at : *(volatile u32 *)at;
}

static u8 mmio_config_generation(struct virtio_device *d) {
    return d->legacy ? 0 : (u8)get(of(d), REGISTER_CONFIG_GENERATION);
}

static u16 mmio_queue_size(struct virtio_device *d, u16 queue) {
    set(of(d), REGISTER_QUEUE, queue);
    return (u16)MIN(get(of(d), REGISTER_QUEUE_SIZE_MOST), 32768U);
}

static void set_address(const struct mmio_device *m, size_t offset, u64 physical) {
    set(m, offset, (u32)physical);
    set(m, offset + 4, (u32)(physical >> 32));
}

static int mmio_start_queue(struct virtio_device *d, u16 queue, u16 size, u64 physical) {
    struct mmio_device *m = of(d);

    set(m, REGISTER_QUEUE, queue);
    set(m, REGISTER_QUEUE_SIZE, size);
    if (d->legacy) {
        set(m, REGISTER_LEGACY_PAGE_SIZE, PAGE_SIZE);
        set(m, REGISTER_LEGACY_QUEUE_ALIGN, VIRTQUEUE_ALIGN);
        set(m, REGISTER_LEGACY_QUEUE_PAGE, (u32)(physical >> PAGE_SHIFT));
        return 0;
    }
    set_address(m, REGISTER_QUEUE_DESCRIPTORS, physical);
    set_address(m, REGISTER_QUEUE_AVAILABLE, physical + virtqueue_available_offset(size));
    set_address(m, REGISTER_QUEUE_USED, physical + virtqueue_used_offset(size));
    set(m, REGISTER_QUEUE_READY, 1);
    return 0;
}

static void mmio_notify(struct virtio_device *d, u16 queue) {
    set(of(d), REGISTER_NOTIFY, queue);
}

static const struct virtio_transport mmio_transport = {
    .status = mmio_status,
    .set_status = mmio_set_status,
    .features = mmio_features,
    .accept_features = mmio_accept_features,
    .read_config = mmio_read_config,
    .config_generation = mmio_config_generation,
    .queue_size = mmio_queue_size,
    .start_queue = mmio_start_queue,
    .notify = mmio_notify,
};

// Acknowledged before the driver looks at its queues: what is used after that raises the line
// again, so no edge is missed.
static void mmio_interrupt(void *argument) {
    struct mmio_device *m = argument;

    u32 why = get(m, REGISTER_INTERRUPT_STATUS);
    set(m, REGISTER_INTERRUPT_ACKNOWLEDGE, why);
    virtio_interrupted(&m->device, why & INTERRUPT_CONFIG);
}

static void probe(const struct window *w) {
    volatile u8 *registers = map_device(w->address, w->size);
    const struct mmio_device peek = {.registers = registers};
    u32 version = get(&peek, REGISTER_VERSION), kind = get(&peek, REGISTER_KIND);

    if (get(&peek, REGISTER_MAGIC) != MAGIC || version < 1 || version > 2) {
        debug("virtio-mmio: no device at 0x%lx\n", w->address);
        return;
    }
    if (kind == 0 || w->irq >= IO_APIC_LINES)
        return; // an empty slot, or out of the interrupt controller's reach
    struct mmio_device *m = kzalloc(sizeof(*m));
    int vector = m ? interrupt_allocate(mmio_interrupt, m) : -ENOMEM;
    if (vector < 0)
        return;
    m->registers = registers;
    m->size = w->size;
    format_string(m->name, sizeof(m->name), "mmio 0x%lx", w->address);
    m->device = (struct virtio_device){
        .kind = kind, .transport = &mmio_transport, .bus = m->name, .legacy = version == 1};
    interrupt_route(w->irq, vector, false, false);
    virtio_found(&m->device);
}

void virtio_mmio_probe(void) {
    for (size_t i = 0; i < window_count; i++)
        probe(&windows[i]);
}

// Reads a number like 4096, 0xfeb00000 or 512K at *p and moves *p behind it. False if there is
// none.
static bool parse_number(const char **p, u64 *value) {
    unsigned base = (*p)[0] == '0' && ((*p)[1] | 32) == 'x' ? 16 : 10;
    const char *first = *p += base == 16 ? 2 : 0;

    for (*value = 0;; (*p)++) {
        char c = **p | 32;
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base || *value > UINT64_MAX >> 4)
            break;
        *value = *value * base + digit;
    }
    if (*p == first)
        return false;
    unsigned shift = **p == 'K' ? 10 : **p == 'M' ? 20 : **p == 'G' ? 30 : 0;
    *value <<= shift;
    *p += shift != 0;
    return true;
}

static bool is_end(char c) {
    return c == 0 || c == ' ' || c == '\t' || c == '\n';
}

// The item after its prefix. Returns where it ends, or NULL if it is not well-formed.
static const char *parse_item(const char *p, struct window *w) {
    u64 irq, unused;

    if (!parse_number(&p, &w->size) || *p++ != '@' || !parse_number(&p, &w->address) ||
        *p++ != ':' || !parse_number(&p, &irq) || w->size < SMALLEST_WINDOW || w->size > 1 << 20 ||
        irq > UINT8_MAX || w->address + w->size < w->address)
        return NULL;
    if (*p == ':' && (p++, !parse_number(&p, &unused)))
        return NULL;
    w->irq = (unsigned)irq;
    return is_end(*p) ? p : NULL;
}

void virtio_mmio_take_devices(char *line) {
    char *out = line;

    for (const char *in = line; *in;) {
        struct window w;
        bool word_start = in == line || is_end(in[-1]);
        const char *end = word_start && !strncmp(in, PREFIX, strlen(PREFIX))
                              ? parse_item(in + strlen(PREFIX), &w)
                              : NULL;
        if (!end || window_count == DEVICES) {
            *out++ = *in++;
            continue;
        }
        windows[window_count++] = w;
        in = end;
        if (out > line && is_end(out[-1]))
            out--; // and the blank before it
        else if (*in)
            in++;
    }
    *out = 0;
}
