// The boot timeline: which step ended when. Shown by --bootchart and sent to the host.
//
// Invariant: steps are kept as raw time-stamp counter values, because the first ones end before
// the counter's rate is known.

#include "arch.h"
#include "boot.h"
#include "clock.h"
#include "memory.h"
#include "print.h"
#include "report.h"
#include "runtime.h"

#define STEPS 24

static struct {
    const char *name;
    u64 tsc;
} steps[STEPS];
static size_t step_count;
static bool chart_wanted;

void boot_step(const char *name) {
    if (step_count == STEPS)
        return;
    steps[step_count].name = name;
    steps[step_count++].tsc = read_tsc();
}

void core_bootchart(bool on) {
    chart_wanted = on;
}

static u64 microseconds(size_t step) {
    return tsc_to_ns(steps[step].tsc - boot_tsc) / MICROSECOND;
}

static void print_milliseconds(const char *before, u64 us, const char *after) {
    kprintf("%s%lu.%02lu%s", before, us / 1000, us % 1000 / 10, after);
}

// OSv's format: time since the start, then what the step took (osv core/chart.cc).
static void print_chart(u64 total) {
    u64 before = 0;

    for (size_t i = 0; i < step_count; i++) {
        kprintf("\t%s", steps[i].name);
        print_milliseconds(": ", microseconds(i), "ms, ");
        print_milliseconds("(+", microseconds(i) - before, "ms)\n");
        before = microseconds(i);
    }
    print_milliseconds("\tTotal time: ", total, "ms, ");
    print_milliseconds("(+", total - before, "ms)\n");
}

void core_booted(void) {
    struct memory_statistics memory;
    u64 total = clock_monotonic() / MICROSECOND;

    if (chart_wanted)
        print_chart(total);
    else
        print_milliseconds("Booted up in ", total, " ms\n");
    memory_statistics(&memory);
    for (size_t i = 0; i < step_count; i++)
        report("{\"event\":\"boot\",\"step\":\"%s\",\"us\":%lu}", steps[i].name, microseconds(i));
    report("{\"event\":\"booted\",\"us\":%lu,\"free\":%lu,\"total\":%lu}", total, memory.free,
           memory.total);
}
