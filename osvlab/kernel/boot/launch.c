// From the core to the runtime: the kernel's first process gets a stack like an application's
// and begins in runtime_main, which from then on speaks system calls only.

#include <sys/mman.h>

#include "arch.h"
#include "area.h"
#include "boot.h"
#include "print.h"
#include "runtime.h"
#include "scheduler.h"

#define RUNTIME_STACK (256UL << 10)
#define GUARD PAGE_SIZE

void runtime_launch(void);

static void enter_runtime(void) {
    runtime_main(boot_command_line);
}

void runtime_launch(void) {
    struct thread *t = this_thread();
    long stack =
        area_map(0, RUNTIME_STACK + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

    if (stack < 0 || area_protect((u64)stack + GUARD, RUNTIME_STACK, PROT_READ | PROT_WRITE) < 0)
        panic("not enough memory for the runtime's stack");
    struct registers r = {
        .rip = (u64)enter_runtime,
        .cs = CODE_SELECTOR,
        .rflags = RFLAGS_INTERRUPT | 2,
        .rsp = (u64)stack + GUARD + RUNTIME_STACK - 8,
        .ss = DATA_SELECTOR,
    };
    t->kernel_depth = 0;
    interrupts_off();
    registers_restore(&r);
}
