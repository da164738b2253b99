// Interrupt controllers: the local APIC (with its timer) and the I/O APIC.
// Intel SDM vol. 3 chapter 11; 82093AA I/O APIC data sheet.
//
// Invariant: the old 8259 controllers are masked; an interrupt vector belongs to one handler;
// the local timer is one-shot and always set to the earliest thing that has to happen.

#include "arch.h"

#include "clock.h"
#include "counts.h"
#include "interrupt.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define IO_APIC_PHYSICAL 0xfec00000UL

enum {
    APIC_ID = 0x20,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_TIMER = 0x320,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};
#define APIC_ENABLE 0x100
#define TIMER_MASKED 0x10000
#define DIVIDE_BY_1 0xb

static volatile u32 *local, *io;
static struct {
    interrupt_handler *handler;
    void *argument;
} handlers[256];
static int next_vector = VECTOR_FIRST_INTERRUPT + 16;
static struct spinlock vector_lock = SPINLOCK("vectors");
static u64 started_tsc;
static u64 timer_ticks_per_us_shifted; // APIC timer ticks per microsecond, times 1024; 0 = unknown

static u32 local_read(int reg) {
    return local[reg / 4];
}

static void local_write(int reg, u32 value) {
    local[reg / 4] = value;
}

static void io_write(u32 reg, u32 value) {
    io[0] = reg;
    io[4] = value;
}

void apic_acknowledge(void) {
    local_write(APIC_EOI, 0);
}

static void mask_8259(void) {
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}

void apic_init(void) {
    mask_8259();
    local = map_device(read_msr(MSR_APIC_BASE) & 0xffffff000UL, PAGE_SIZE);
    io = map_device(IO_APIC_PHYSICAL, PAGE_SIZE);
    local_write(APIC_SPURIOUS, APIC_ENABLE | VECTOR_SPURIOUS);
    local_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    local_write(APIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    local_write(APIC_TIMER_INITIAL, UINT32_MAX); // runs on for apic_timer_calibrate
    started_tsc = read_tsc();
}

// Compares the local timer, running since apic_init, with the clock that is right by now.
void apic_timer_calibrate(void) {
    u64 ticks = UINT32_MAX - local_read(APIC_TIMER_CURRENT);
    u64 elapsed_ns = tsc_to_ns(read_tsc() - started_tsc);

    timer_ticks_per_us_shifted = MAX(1UL, ticks * 1024 * 1000 / MAX(1UL, elapsed_ns));
    local_write(APIC_TIMER, VECTOR_TIMER);
    local_write(APIC_TIMER_INITIAL, 0);
    cpu()->timer_armed = NEVER;
}

// Writing to the device costs more than an interrupt now and then that comes early, finds nothing
// due and sets the timer again: so threads that take turns do not set it at each turn.
void apic_timer_set(u64 deadline) {
    if (deadline >= cpu()->timer_armed || !timer_ticks_per_us_shifted)
        return;
    cpu()->timer_armed = deadline;
    u64 now = clock_monotonic();
    u64 us_shifted = deadline > now ? (deadline - now + 999) / 1000 : 1;
    // Far deadlines are reached in several steps of at most a second.
    u64 ticks = MIN(us_shifted, 1000000UL) * timer_ticks_per_us_shifted / 1024;
    local_write(APIC_TIMER_INITIAL, (u32)MIN(MAX(ticks, 1UL), (u64)UINT32_MAX));
}

int interrupt_allocate(interrupt_handler *handler, void *argument) {
    u64 flags = spin_lock(&vector_lock);
    int vector = next_vector < VECTOR_TIMER ? next_vector++ : -ENOSPC;

    if (vector > 0) {
        handlers[vector].handler = handler;
        handlers[vector].argument = argument;
    }
    spin_unlock(&vector_lock, flags);
    return vector;
}

void interrupt_route(unsigned gsi, int vector, bool level_triggered, bool active_low) {
    u32 entry = vector | (active_low ? 1 << 13 : 0) | (level_triggered ? 1 << 15 : 0);

    io_write(0x10 + 2 * gsi + 1, local_read(APIC_ID) & 0xff000000);
    io_write(0x10 + 2 * gsi, entry);
}

u64 msi_address(void) {
    return 0xfee00000UL | (local_read(APIC_ID) >> 24) << 12;
}

u32 msi_data(int vector) {
    return vector;
}

void interrupt_entry(struct registers *r);

static u64 count;

u64 interrupt_count(void) {
    return count;
}

void interrupt_entry(struct registers *r) {
    count++;
    if (r->vector == VECTOR_SPURIOUS)
        return;
    if (r->vector == VECTOR_TIMER) {
        apic_acknowledge();
        cpu()->timer_armed = NEVER;
        scheduler_tick();
    } else if (handlers[r->vector].handler) {
        handlers[r->vector].handler(handlers[r->vector].argument);
        apic_acknowledge();
    } else {
        apic_acknowledge();
        debug("unexpected interrupt %lu\n", r->vector);
    }
    scheduler_interrupt_exit(r);
}
