// Time from the processor's time-stamp counter.
//
// The counter's rate is measured against a clock of known rate: under KVM the hypervisor tells
// it (CPUID leaf 0x40000010 or the pvclock structure); elsewhere channel 2 of the 8254 timer,
// which counts at 1.193182 MHz, is started when the kernel is entered and read again when the
// boot has got far enough, so that measuring costs no waiting.
//
// Invariant: clock_monotonic never goes back; before clock_init it returns 0. libc computes the
// same from `clock_data` (runtime/clock.c), which says what is known here and nothing else.

#include "arch.h"
#include "clock.h"

#include "interrupt.h"
#include "memory.h"
#include "print.h"
#include "runtime.h"

#define PIT_HZ 1193182UL
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61

#define MEASURE_TICKS (PIT_HZ / 400) // 2.5 ms: one tick off is 0.03 %

u64 boot_tsc;
static u64 multiplier; // ns = tsc * multiplier >> 32
static u64 realtime_offset;
static bool pit_works;
const struct clock_data clock_data = {0};

static u16 pit_read(void) {
    outb(PIT_COMMAND, 0x80); // latch channel 2
    u8 low = inb(PIT_CHANNEL2);
    return (u16)(inb(PIT_CHANNEL2) << 8 | low);
}

// The time-stamp counter and the timer at one moment.
struct reading {
    u64 tsc;
    u16 count;
};
static struct reading entered, checkpoint;

// Reads both as close together as can be: the best of a few tries.
static struct reading read_both(void) {
    struct reading best = {0};
    u64 least = NEVER;

    for (int i = 0; i < 4; i++) {
        u64 before = read_tsc();
        u16 count = pit_read();
        u64 after = read_tsc();
        if (after - before < least) {
            least = after - before;
            best = (struct reading){before + least / 2, count};
        }
    }
    return best;
}

void clock_init_early(void) {
    boot_tsc = read_tsc();
    outb(PIT_GATE, (inb(PIT_GATE) & ~2) | 1); // gate on, speaker off
    outb(PIT_COMMAND, 0xb4); // channel 2, low then high byte, mode 2 (rate generator)
    outb(PIT_CHANNEL2, 0);
    outb(PIT_CHANNEL2, 0); // 65536: wraps after 55 ms
    entered = read_both();
    u16 later = entered.count;
    for (int i = 0; i < 1000 && later == entered.count; i++)
        later = pit_read();
    pit_works = later != entered.count;
}

void clock_checkpoint(void) {
    checkpoint = read_both();
}

static u64 hypervisor_tsc_khz(void) {
    struct cpuid signature = cpuid(0x40000000, 0);

    if (signature.ebx == 0x4b4d564b /* "KVMK" */ && signature.eax >= 0x40000010)
        return cpuid(0x40000010, 0).eax;
    return 0;
}

static u64 hz_between(const struct reading *from, const struct reading *to) {
    u16 ticks = from->count - to->count; // it counts down, and wraps like a u16
    return (to->tsc - from->tsc) * PIT_HZ / MAX(ticks, 1);
}

// Measures from a reading up to now, or up to when enough ticks have passed.
static u64 measured_hz(const struct reading *from, struct reading *to) {
    do {
        *to = read_both();
    } while ((u16)(from->count - to->count) < MEASURE_TICKS);
    return hz_between(from, to);
}

// If the processor was taken away from us for longer than the timer takes to wrap, a measurement
// is wrong: so one counts only if the one before it agrees.
static u64 pit_measured_hz(void) {
    struct reading from = checkpoint, to;
    u64 before = hz_between(&entered, &checkpoint), hz = measured_hz(&from, &to);

    for (int tries = 0; tries < 20 && MAX(hz, before) - MIN(hz, before) > hz / 50; tries++) {
        before = hz;
        from = to;
        hz = measured_hz(&from, &to);
    }
    return hz;
}

static u8 rtc_register(u8 index) {
    outb(0x70, index);
    return inb(0x71);
}

static unsigned bcd(u8 value) {
    return (value >> 4) * 10 + (value & 15);
}

// Days since 1970-01-01 of a civil date (Howard Hinnant, "chrono-compatible date algorithms").
static i64 days_from_civil(i64 y, unsigned m, unsigned d) {
    y -= m <= 2;
    i64 era = y / 400;
    unsigned year_of_era = (unsigned)(y - era * 400);
    unsigned day_of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + (i64)day_of_era - 719468;
}

// The CMOS clock (MC146818), in UTC, as QEMU sets it up: BCD, 24 hours. 0 without one.
static u64 rtc_seconds(void) {
    u8 r[7], again;

    do {
        for (int i = 0; i < 1000 && rtc_register(0x0a) & 0x80; i++)
            ; // an update is in progress
        for (int i = 0; i < 7; i++)
            r[i] = rtc_register((const u8[]){0, 2, 4, 7, 8, 9, 0x32}[i]);
        again = rtc_register(0);
    } while (again != r[0]);
    if (r[3] == 0xff || r[4] == 0xff || r[3] == 0)
        return 0;
    i64 days = days_from_civil(bcd(r[6]) * 100 + bcd(r[5]), bcd(r[4]), bcd(r[3]));
    return (u64)days * 86400 + bcd(r[2]) * 3600 + bcd(r[1]) * 60 + bcd(r[0]);
}

// Constants are writable only where all of RAM is: in the linear map. A reader finds the old or
// the new offset, as it is one word; the other two are written again as they are.
static void publish(void) {
    u64 physical;

    page_mapped((u64)&clock_data, &physical, NULL);
    u64 offset = (u64)&clock_data & (PAGE_SIZE - 1);
    struct clock_data *data = PHYSICAL_TO_VIRTUAL(physical + offset);
    *(volatile struct clock_data *)data =
        (struct clock_data){boot_tsc, multiplier, realtime_offset};
}

void clock_init(void) {
    u64 khz = hypervisor_tsc_khz();
    u64 hz = khz ? khz * 1000 : 0;

    if (!hz && pit_works)
        hz = pit_measured_hz();
    if (!hz) {
        kprintf("No clock of known rate found: assuming a 2 GHz time-stamp counter.\n");
        hz = 2000000000UL;
    }
    multiplier = (SECOND << 32) / hz;
    apic_timer_calibrate();
    realtime_offset = rtc_seconds() * SECOND - clock_monotonic();
    publish();
    debug("clock: time-stamp counter at %lu kHz (%s)\n", hz / 1000, khz ? "hypervisor" : "8254");
}

u64 tsc_to_ns(u64 delta) {
    return (u64)((unsigned __int128)delta * multiplier >> 32);
}

u64 clock_monotonic(void) {
    return tsc_to_ns(read_tsc() - boot_tsc);
}

u64 clock_realtime(void) {
    return clock_monotonic() + realtime_offset;
}

void clock_set_realtime(u64 nanoseconds) {
    realtime_offset = nanoseconds - clock_monotonic();
    publish();
}
