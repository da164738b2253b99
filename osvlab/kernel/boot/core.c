// What the runtime asks of the core beyond Linux's system calls (runtime.h).

#include <string.h>

#include "clock.h"
#include "console.h"
#include "file.h"
#include "lock.h"
#include "network/network.h"
#include "print.h"
#include "report.h"
#include "runtime.h"
#include "thread.h"

void core_set_verbose(bool on) {
    if (on)
        print_verbose();
}

// There is one console. OSv's other choice, "vga", would be a screen nobody looks at.
int core_set_console(const char *name) {
    return !strcmp(name, "serial") || !strcmp(name, "all") || !strcmp(name, "vga") ? 0 : -EINVAL;
}

// The lab kernel powers off after every crash; OSv's option is accepted and changes nothing.
void core_power_off_on_abort(bool on) {
    (void)on;
}

void core_report_started(int pid, const char *command) {
    char text[256];

    report("{\"event\":\"started\",\"pid\":%d,\"command\":\"%s\"}", pid,
           report_escape(text, sizeof(text), command));
}

void core_report_ended(int pid, int status) {
    report("{\"event\":\"ended\",\"pid\":%d,\"status\":%d}", pid, status);
}

#define PATIENCE (2 * SECOND)

_Noreturn void core_shutdown(int status) {
    static bool begun;

    while (__atomic_exchange_n(&begun, true, __ATOMIC_RELAXED))
        wait_sleep(NEVER, false); // whoever came first goes on
    network_finish();
    if (files_to_finish()) // whoever writes must not go on while the disks are left
        processes_end(clock_monotonic() + PATIENCE);
    files_shutdown();
    debug("Powering off.\n");
    power_off(status);
}
