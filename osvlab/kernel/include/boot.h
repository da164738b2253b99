// What the kernel was started with, and the boot timeline.
#pragma once

#include "base.h"

// The command line as the boot loader gave it (PVH start_info or LBA 1), NUL-terminated.
extern char boot_command_line[32768];

// Physical address of the ACPI root pointer, or 0 (PVH gives it; else search the BIOS area).
extern u64 boot_rsdp;

// Marks the end of a boot step on the report channel and in the --bootchart.
void boot_step(const char *name);

// The bootfs blob linked into the kernel (possibly an empty archive).
extern const u8 bootfs_start[], bootfs_end[];
