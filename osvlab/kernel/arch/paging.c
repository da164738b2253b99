// The one page table: four levels, as the Intel SDM vol. 3 chapter 4.5 has them.
//
// Invariant: no page is writable and executable at once. The kernel's text is read-only,
// its constants are neither writable nor executable, RAM's linear map is not executable, and
// address 0 is not mapped.
//
// Tables are changed with interrupts off; there is one processor, so that is the lock's job
// done, and `paging_lock` marks the places for more of them.

#include "arch.h"

#include <string.h>
#include <sys/mman.h>

#include "boot_memory.h"
#include "lock.h"
#include "memory.h"
#include "print.h"

#define PRESENT 0x001UL
#define WRITABLE 0x002UL
#define UNCACHED 0x018UL // PWT, PCD
#define DIRTY 0x040UL    // the processor sets it at the first write
#define LARGE 0x080UL
#define NO_EXECUTE (1UL << 63)
#define ADDRESS_MASK 0x000ffffffffff000UL

#define LARGE_PAGE_SIZE 0x200000UL
#define KERNEL_SHIFT 0x40000000UL
#define KERNEL_RANGE_END 0x80000000UL

extern char kernel_start_address[], text_start[], text_end[], constants_end[], kernel_end_address[];
extern char core_text_start[], core_text_end[];

static u64 *root; // linear-map address of the top table
static struct spinlock paging_lock = SPINLOCK("page tables");
static bool allocator_ready;
static u64 next_device = DEVICE_BASE;

static u64 *new_table(void) {
    if (!allocator_ready)
        return memset(PHYSICAL_TO_VIRTUAL(boot_memory_take(PAGE_SIZE)), 0, PAGE_SIZE);
    struct page *page = page_allocate();
    return page ? page_address(page) : NULL;
}

static unsigned slot(u64 address, int level) {
    return address >> (12 + 9 * level) & 511;
}

// The entry for `address` at `level` (0 = 4 KiB pages, 1 = 2 MiB), or NULL if a table is missing
// and could not, or should not, be made.
static u64 *entry_of(u64 address, int level, bool create) {
    u64 *table = root;

    for (int l = 3; l > level; l--) {
        u64 *entry = &table[slot(address, l)];
        if (!(*entry & PRESENT)) {
            u64 *below = create ? new_table() : NULL;
            if (!below)
                return NULL;
            *entry = VIRTUAL_TO_PHYSICAL(below) | PRESENT | WRITABLE;
        } else if (*entry & LARGE) {
            return entry;
        }
        table = PHYSICAL_TO_VIRTUAL(*entry & ADDRESS_MASK);
    }
    return &table[slot(address, level)];
}

static u64 bits_of(int protection) {
    u64 bits = protection == PROT_NONE ? 0 : PRESENT;
    bits |= protection & PROT_WRITE ? WRITABLE : 0;
    bits |= protection & PROT_EXEC ? 0 : NO_EXECUTE;
    return bits;
}

static void forget_translation(u64 address) {
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

int page_map(u64 address, u64 physical, int protection) {
    u64 flags = spin_lock(&paging_lock);
    u64 *entry = entry_of(address, 0, true);

    if (entry) {
        bool replaced = *entry & PRESENT;
        *entry = physical | bits_of(protection);
        if (replaced)
            forget_translation(address);
    }
    spin_unlock(&paging_lock, flags);
    return entry ? 0 : -ENOMEM;
}

bool page_mapped(u64 address, u64 *physical, int *protection) {
    u64 *entry = entry_of(address, 0, false);
    u64 value = entry ? *entry : 0;

    if (!(value &
          (ADDRESS_MASK | LARGE))) // a page protected with PROT_NONE is there, but not PRESENT
        return false;
    u64 size = value & LARGE ? LARGE_PAGE_SIZE : PAGE_SIZE;
    if (physical)
        *physical =
            (value & ADDRESS_MASK & ~(size - 1)) | (address & (size - 1) & ~(PAGE_SIZE - 1));
    if (protection)
        *protection = !(value & PRESENT) ? PROT_NONE
                                         : PROT_READ | (value & WRITABLE ? PROT_WRITE : 0) |
                                               (value & NO_EXECUTE ? 0 : PROT_EXEC);
    return true;
}

u64 page_unmap(u64 address) {
    u64 flags = spin_lock(&paging_lock);
    u64 *entry = entry_of(address, 0, false);
    u64 value = entry ? *entry : 0;

    if (value & ADDRESS_MASK) {
        *entry = 0;
        forget_translation(address);
    }
    spin_unlock(&paging_lock, flags);
    return value & ADDRESS_MASK;
}

bool page_take_dirty(u64 address) {
    u64 flags = spin_lock(&paging_lock);
    u64 *entry = entry_of(address, 0, false);
    bool dirty = entry && (*entry & DIRTY);

    if (dirty) {
        *entry &= ~DIRTY;
        forget_translation(address);
    }
    spin_unlock(&paging_lock, flags);
    return dirty;
}

void page_protect(u64 address, int protection) {
    u64 flags = spin_lock(&paging_lock);
    u64 *entry = entry_of(address, 0, false);

    if (entry && (*entry & ADDRESS_MASK)) {
        *entry = (*entry & (ADDRESS_MASK | DIRTY)) | bits_of(protection);
        forget_translation(address);
    }
    spin_unlock(&paging_lock, flags);
}

// The first page at or after `start` that has a frame, or `end`. Skips what has no tables.
u64 page_next_mapped(u64 start, u64 end) {
    while (start < end) {
        u64 *directory_entry = entry_of(start, 1, false);
        if (!directory_entry || !(*directory_entry & PRESENT)) {
            start = ALIGN_DOWN(start, LARGE_PAGE_SIZE) + LARGE_PAGE_SIZE;
            continue;
        }
        u64 *table = PHYSICAL_TO_VIRTUAL(*directory_entry & ADDRESS_MASK);
        do {
            if (table[slot(start, 0)] & ADDRESS_MASK)
                return start;
            start += PAGE_SIZE;
        } while (start < end && slot(start, 0));
    }
    return end;
}

static bool table_empty(const u64 *table) {
    for (int i = 0; i < 512; i++) {
        if (table[i])
            return false;
    }
    return true;
}

// Frees the lowest-level tables of [start, end) that map nothing any more.
void page_tables_trim(u64 start, u64 end) {
    for (u64 a = ALIGN_DOWN(start, LARGE_PAGE_SIZE); a < end; a += LARGE_PAGE_SIZE) {
        u64 flags = spin_lock(&paging_lock);
        u64 *entry = entry_of(a, 1, false);
        u64 table = entry && (*entry & PRESENT) && !(*entry & LARGE) ? *entry & ADDRESS_MASK : 0;
        bool empty = table && table_empty(PHYSICAL_TO_VIRTUAL(table));
        if (empty) {
            *entry = 0;
            forget_translation(a); // also drops cached table entries (SDM 4.10.4.1)
        }
        spin_unlock(&paging_lock, flags);
        if (empty)
            page_put(page_of(PHYSICAL_TO_VIRTUAL(table)));
    }
}

static void map_range(u64 address, u64 physical, u64 size, u64 bits) {
    while (size) {
        bool large = !((address | physical) & (LARGE_PAGE_SIZE - 1)) && size >= LARGE_PAGE_SIZE;
        u64 *entry = entry_of(address, large, true);
        u64 step = large ? LARGE_PAGE_SIZE : PAGE_SIZE;

        if (!entry)
            panic("no memory for page tables");
        *entry = physical | bits | PRESENT | (large ? LARGE : 0);
        address += step;
        physical += step;
        size -= MIN(size, step);
    }
}

void *map_device(u64 physical, size_t size) {
    u64 first = ALIGN_DOWN(physical, PAGE_SIZE);
    u64 length = ALIGN_UP(physical + size, PAGE_SIZE) - first;
    u64 flags = spin_lock(&paging_lock);
    u64 address = next_device;

    next_device += length + PAGE_SIZE;
    map_range(address, first, length, WRITABLE | UNCACHED | NO_EXECUTE);
    spin_unlock(&paging_lock, flags);
    return (void *)(address + physical - first);
}

static void map_kernel(const char *from, const char *to, u64 bits) {
    u64 start = (u64)from, end = ALIGN_UP((u64)to, PAGE_SIZE);

    map_range(start, start - KERNEL_SHIFT, end - start, bits);
}

// Replaces the boot loader's view of memory with the real one.
void paging_init(void) {
    root = new_table();
    for (size_t i = 0; i < boot_memory_count; i++) {
        const struct boot_range *r = &boot_memory[i];
        u64 start = ALIGN_DOWN(r->start, LARGE_PAGE_SIZE), end = ALIGN_UP(r->end, LARGE_PAGE_SIZE);
        map_range(LINEAR_BASE + start, start, end - start, WRITABLE | NO_EXECUTE);
    }
    map_kernel(kernel_start_address, text_start, NO_EXECUTE);
    map_kernel(text_start, text_end, 0);
    map_kernel((char *)ALIGN_UP((u64)text_end, PAGE_SIZE), constants_end, NO_EXECUTE);
    map_kernel((char *)ALIGN_UP((u64)constants_end, PAGE_SIZE), kernel_end_address,
               WRITABLE | NO_EXECUTE);
    __asm__ volatile("movq %0, %%cr3" : : "r"(VIRTUAL_TO_PHYSICAL(root)) : "memory");
}

void paging_use_allocator(void) {
    allocator_ready = true;
}

bool safe_read(void *to, u64 address, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t piece = MIN(size - done, PAGE_SIZE - ((address + done) & (PAGE_SIZE - 1)));
        u64 top = (address + done) >> 47;
        int protection;

        if ((top != 0 && top != 0x1ffff) || !page_mapped(address + done, NULL, &protection) ||
            !protection)
            return false;
        if (address + done >= DEVICE_BASE) // reading device registers has effects
            return false;
        memcpy((u8 *)to + done, (const void *)(address + done), piece);
        done += piece;
    }
    return true;
}

void kernel_range(u64 *start, u64 *end) {
    *start = KERNEL_SHIFT;
    *end = KERNEL_RANGE_END;
}

bool in_kernel_image(u64 address) {
    return address >= (u64)kernel_start_address && address < (u64)kernel_end_address;
}

bool in_core_text(u64 address) {
    return address >= (u64)core_text_start && address < (u64)core_text_end;
}
