// Ending the run: the status to the host, the last words out of the serial port, power off.
//
// Which means works depends on the machine, so they are tried from the one that says most to
// the one that always works:
//   isa-debug-exit   QEMU ends at once with 2 * status + 1 (qemu hw/misc/debugexit.c)
//   ACPI S5          the PC's soft power button, on `pc` and `q35`
//   keyboard reset   0xfe to port 0x64; Firecracker ends on it
//   triple fault     an exception without an exception table resets the processor
// The last two are resets, so QEMU is started with -no-reboot.

#include "power.h"

#include "arch.h"
#include "console.h"
#include "interrupt.h"
#include "report.h"

#define DEBUG_EXIT_PORT 0xf4
#define KEYBOARD_COMMAND_PORT 0x64
#define KEYBOARD_RESET 0xfe

static _Noreturn void triple_fault(void) {
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) nothing = {0, 0};

    __asm__ volatile("lidt %0; int3" : : "m"(nothing));
    for (;;)
        __asm__ volatile("cli; hlt");
}

_Noreturn void machine_stop(u32 status) {
    static bool tried;

    interrupts_off();
    if (tried) // and faulted
        triple_fault();
    tried = true;
    uart_drain();
    outl(DEBUG_EXIT_PORT, status);
    acpi_power_off();
    outb(KEYBOARD_COMMAND_PORT, KEYBOARD_RESET);
    triple_fault();
}

_Noreturn void power_off(int status) {
    report("{\"event\":\"exited\",\"status\":%d}", status);
    machine_stop((u32)status);
}
