// What the boot loader hands over: the memory map, the command line, the ACPI root pointer.
// Format: hvm_start_info of the PVH boot ABI (xen/include/public/arch-x86/hvm/start_info.h).
//
// Invariant: everything is copied before any memory is given out, since the loader's own
// structures lie in RAM that is about to be used. Only the archive it may bring along (QEMU:
// -initrd) stays where it is, and is kept out of the allocator's hands.

#include <string.h>

#include "boot.h"
#include "boot_memory.h"
#include "memory.h"
#include "print.h"

struct start_info {
    u32 magic, version, flags, modules;
    u64 module_list, command_line, rsdp, memory_map;
    u32 memory_map_entries, reserved;
};
struct memory_map_entry {
    u64 address, size;
    u32 type, reserved;
};

struct module_entry {
    u64 address, size, command_line, reserved;
};

#define START_INFO_MAGIC 0x336ec578
#define MEMORY_RAM 1

// Firmware tables are small; larger reserved ranges are device windows and stay unmapped.
#define LARGEST_TABLE (16UL << 20)

char boot_command_line[32768];
u64 boot_rsdp;
struct boot_range boot_memory[BOOT_RANGES];
size_t boot_memory_count;
struct boot_range boot_archive;

static u64 next_free; // boot_memory_take's position, above the kernel image
extern char kernel_end_address[];

static void add_range(const struct memory_map_entry *e) {
    bool usable = e->type == MEMORY_RAM;
    u64 start = usable ? ALIGN_UP(e->address, PAGE_SIZE) : ALIGN_DOWN(e->address, PAGE_SIZE);
    u64 end = e->address + e->size;

    end = usable ? ALIGN_DOWN(end, PAGE_SIZE) : ALIGN_UP(end, PAGE_SIZE);
    if (start == 0)
        start = PAGE_SIZE; // physical page 0 stays unused: its frame number means "none"
    if (end <= start || (!usable && end - start > LARGEST_TABLE) ||
        boot_memory_count == BOOT_RANGES)
        return;
    boot_memory[boot_memory_count++] = (struct boot_range){start, end, usable};
}

// Cuts the pages of the archive out of the RAM they lie in.
static void keep_archive(const struct module_entry *module) {
    u64 start = ALIGN_DOWN(module->address, PAGE_SIZE);
    u64 end = ALIGN_UP(module->address + module->size, PAGE_SIZE);

    for (size_t i = 0; i < boot_memory_count; i++) {
        struct boot_range *r = &boot_memory[i];
        if (!r->usable || start < r->start || end > r->end || end <= start)
            continue;
        if (boot_memory_count + 2 > BOOT_RANGES)
            return;
        boot_memory[boot_memory_count++] = (struct boot_range){start, end, false};
        boot_memory[boot_memory_count++] = (struct boot_range){end, r->end, true};
        r->end = start;
        boot_archive = (struct boot_range){module->address, module->address + module->size, true};
        return;
    }
}

void boot_info_read(u32 address) {
    // The first GiB is mapped at LINEAR_BASE at this point, and loaders stay below it.
    const struct start_info *info = PHYSICAL_TO_VIRTUAL(address);

    if (info->magic != START_INFO_MAGIC)
        panic("not started by the PVH boot protocol (magic 0x%x)", info->magic);
    if (info->version < 1 || !info->memory_map)
        panic("the boot loader gave no memory map");
    if (info->command_line) {
        const char *text = PHYSICAL_TO_VIRTUAL(info->command_line);
        size_t length = strnlen(text, sizeof(boot_command_line) - 1);
        memcpy(boot_command_line, text, length);
    }
    boot_rsdp = info->rsdp;
    const struct memory_map_entry *map = PHYSICAL_TO_VIRTUAL(info->memory_map);
    for (u32 i = 0; i < info->memory_map_entries; i++)
        add_range(&map[i]);
    if (info->modules)
        keep_archive(PHYSICAL_TO_VIRTUAL(info->module_list));
    next_free = ALIGN_UP((u64)kernel_end_address - 0x40000000UL, PAGE_SIZE);
}

static const struct boot_range *range_of_kernel(void) {
    for (size_t i = 0; i < boot_memory_count; i++) {
        const struct boot_range *r = &boot_memory[i];
        if (r->usable && r->start <= KERNEL_PHYSICAL && KERNEL_PHYSICAL < r->end)
            return r;
    }
    panic("the kernel does not lie in RAM");
}

u64 boot_memory_take(size_t size) {
    u64 start = next_free;

    size = ALIGN_UP(size, PAGE_SIZE);
    u64 end = range_of_kernel()->end;
    if (start + size > end)
        panic("not enough memory: %lu KiB of RAM, and the kernel alone needs %lu KiB to start",
              end >> 10, (start + size) >> 10);
    next_free += size;
    return start;
}

u64 boot_memory_free_start(const struct boot_range *range) {
    return range == range_of_kernel() ? next_free : range->start;
}
