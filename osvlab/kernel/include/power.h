// Ending the machine. power_off() in report.h is the orderly way; this is the last step of both
// it and a crash.
#pragma once

#include "base.h"

#define POWER_CRASHED 0x7e // what isa-debug-exit gets after a crash

// Makes the virtual machine end, by the first of several means that works.
_Noreturn void machine_stop(u32 status);

// Ends the machine by ACPI, if there is ACPI; returns if not (drivers/acpi.c).
void acpi_power_off(void);
