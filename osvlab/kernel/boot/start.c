// The boot, as a table of contents: what is set up, in which order, and why in that order.

#include "arch.h"
#include "boot.h"
#include "boot_memory.h"
#include "clock.h"
#include "console.h"
#include "drivers.h"
#include "file.h"
#include "print.h"
#include "report.h"
#include "runtime.h"
#include "scheduler.h"

void kernel_start(u32 start_info);
void runtime_launch(void);

// The second half runs as a thread, because drivers and filesystems sleep.
static void finish_boot(void *unused) {
    (void)unused;
    virtio_mmio_take_devices(boot_command_line);
    drivers_probe();
    boot_step("drivers");
    clock_init(); // by now enough time has passed to measure the counter's rate
    kernel_process.files = files_create();
    files_boot(kernel_process.files);
    boot_step("files");
    runtime_launch();
}

void kernel_start(u32 start_info) {
    clock_init_early();         // the reference starts counting now
    cpu_init();                 // exceptions are reported from here on
    uart_init();                // and can be read
    report_init();              // and reach the host
    boot_info_read(start_info); // memory map, command line
    boot_step("boot information");
    paging_init(); // W^X, linear map
    pages_init();  // page allocator: takes the rest of RAM
    heap_init();   // small objects
    boot_step("memory");
    apic_init(); // interrupt controllers
    clock_checkpoint();
    scheduler_init(); // this becomes the idle thread
    processes_init();
    boot_step("threads");
    if (!thread_start("boot", finish_boot, NULL))
        panic("not enough memory for a first thread");
    scheduler_idle();
}
