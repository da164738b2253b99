// What the kernel counts anyway, since the boot, for /proc.
#pragma once

#include "base.h"

u64 switch_count(void);    // of threads: threads/scheduler.c
u64 interrupt_count(void); // arch/apic.c
u64 fault_count(void);     // page faults that were served: memory/fault.c
