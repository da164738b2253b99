// What memory the boot loader told us about, until the page allocator takes over.
#pragma once

#include "base.h"

// RAM and firmware tables worth mapping, page aligned.
struct boot_range {
    u64 start, end; // physical
    bool usable;    // RAM for the allocator
};
#define BOOT_RANGES 32
#define KERNEL_PHYSICAL 0x200000UL // where the kernel lies; what it takes at boot follows it
extern struct boot_range boot_memory[BOOT_RANGES];
extern size_t boot_memory_count;

// An archive that the boot loader put into RAM; empty if it did not. Not for the allocator until
// pages_take_archive: then nobody looks at it any more.
extern struct boot_range boot_archive;
void pages_take_archive(void);

// Takes physical memory for ever, with what is in it. Only before the page allocator exists.
u64 boot_memory_take(size_t size);

// Where untaken usable memory of a range begins.
u64 boot_memory_free_start(const struct boot_range *range);

void boot_info_read(u32 start_info);
void paging_use_allocator(void);
void pages_init(void);
void heap_init(void);
u64 pages_total(void);
u64 pages_free_count(void);
