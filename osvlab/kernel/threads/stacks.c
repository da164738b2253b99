// The three kernel stacks of a thread, with unmapped guard pages below each.
//
// One slot of address space per thread, from low to high:
//     guard | exception stack | guard | interrupt stack | guard | system call stack, FPU area
//
// Invariant: a slot is either unused (nothing mapped), cached (mapped, on the free list) or a
// thread's. An overflow hits a guard page, never another stack.

#include "memory.h"
#include "print.h"
#include "scheduler.h"

#include <string.h>
#include <sys/mman.h>

#define SLOT_SIZE 65536UL
#define EXCEPTION_AT PAGE_SIZE
#define INTERRUPT_AT (EXCEPTION_AT + EXCEPTION_STACK_SIZE + PAGE_SIZE)
#define SYSCALL_AT (INTERRUPT_AT + INTERRUPT_STACK_SIZE + PAGE_SIZE)
_Static_assert(SYSCALL_AT + SYSCALL_STACK_SIZE <= SLOT_SIZE, "a slot holds all three stacks");

#define CACHED_SLOTS 8
#define MAPPED_PAGES \
    ((EXCEPTION_STACK_SIZE + INTERRUPT_STACK_SIZE + SYSCALL_STACK_SIZE) / PAGE_SIZE)

static struct spinlock stacks_lock = SPINLOCK("stacks");
static u64 cached[CACHED_SLOTS];
static int cached_count;
static u64 next_slot = KERNEL_STACKS_BASE;

// Slots given up are linked through a table of their numbers.
static u64 *unused;
static size_t unused_count, unused_capacity;

static const struct {
    u64 at, size;
} parts[] = {
    {EXCEPTION_AT, EXCEPTION_STACK_SIZE},
    {INTERRUPT_AT, INTERRUPT_STACK_SIZE},
    {SYSCALL_AT, SYSCALL_STACK_SIZE},
};

static void unmap_slot(u64 base) {
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (u64 a = base + parts[i].at; a < base + parts[i].at + parts[i].size; a += PAGE_SIZE) {
            u64 physical = page_unmap(a);
            if (physical)
                page_put(page_of(PHYSICAL_TO_VIRTUAL(physical)));
        }
    }
    page_tables_trim(base, base + SLOT_SIZE);
}

static bool map_slot(u64 base) {
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (u64 a = base + parts[i].at; a < base + parts[i].at + parts[i].size; a += PAGE_SIZE) {
            struct page *page = page_allocate();
            if (!page || page_map(a, page_physical(page), PROT_READ | PROT_WRITE) < 0) {
                if (page)
                    page_put(page);
                unmap_slot(base);
                return false;
            }
        }
    }
    return true;
}

static u64 unused_slot(void) {
    u64 flags = spin_lock(&stacks_lock);
    u64 base = unused_count ? unused[--unused_count] : next_slot;

    if (base == next_slot)
        next_slot += SLOT_SIZE;
    spin_unlock(&stacks_lock, flags);
    return base;
}

static void give_up(u64 base) {
    unmap_slot(base);
    u64 flags = spin_lock(&stacks_lock);
    if (unused_count == unused_capacity) {
        u64 *larger = krealloc(unused, (unused_capacity + 64) * sizeof(u64));
        if (larger) {
            unused = larger;
            unused_capacity += 64;
        }
    }
    if (unused_count < unused_capacity) // else only address space is lost
        unused[unused_count++] = base;
    spin_unlock(&stacks_lock, flags);
}

bool stacks_allocate(struct thread *t) {
    u64 flags = spin_lock(&stacks_lock);
    u64 base = cached_count ? cached[--cached_count] : 0;
    spin_unlock(&stacks_lock, flags);

    if (!base) {
        base = unused_slot();
        if (!map_slot(base)) {
            give_up(base);
            return false;
        }
    }
    t->stacks = base;
    t->fpu = (void *)ALIGN_DOWN(base + SYSCALL_AT + SYSCALL_STACK_SIZE - fpu_area_size, 64);
    memset(t->fpu, 0, fpu_area_size);
    fpu_area_init(t->fpu);
    return true;
}

void stacks_release(struct thread *t) {
    u64 flags = spin_lock(&stacks_lock);
    bool keep = cached_count < CACHED_SLOTS;

    if (keep)
        cached[cached_count++] = t->stacks;
    spin_unlock(&stacks_lock, flags);
    if (!keep)
        give_up(t->stacks);
}

// Cached stacks can be freed at any time, so they count as free memory.
u64 stacks_cached_bytes(void) {
    return cached_count * MAPPED_PAGES * PAGE_SIZE;
}

bool stacks_reclaim(void) {
    u64 flags = spin_lock(&stacks_lock);
    u64 base = cached_count ? cached[--cached_count] : 0;
    spin_unlock(&stacks_lock, flags);

    if (base)
        give_up(base);
    return base;
}

u64 stacks_syscall_top(const struct thread *t) {
    return ALIGN_DOWN((u64)t->fpu, 16);
}

u64 stacks_interrupt_top(const struct thread *t) {
    return t->stacks + INTERRUPT_AT + INTERRUPT_STACK_SIZE - 16; // room for registers.cr2
}

// Nested exceptions (a signal frame that faults its stack in) use the lower half.
u64 stacks_exception_top(const struct thread *t) {
    u64 used = t->exception_depth ? EXCEPTION_STACK_SIZE / 2 : 0;

    return t->stacks + EXCEPTION_AT + EXCEPTION_STACK_SIZE - used - 16;
}

const char *stacks_guard_name(u64 address) {
    if (address < KERNEL_STACKS_BASE || address >= next_slot)
        return NULL;
    u64 offset = address & (SLOT_SIZE - 1);
    if (offset < EXCEPTION_AT)
        return "exception stack";
    if (offset >= INTERRUPT_AT - PAGE_SIZE && offset < INTERRUPT_AT)
        return "interrupt stack";
    return offset >= SYSCALL_AT - PAGE_SIZE && offset < SYSCALL_AT ? "system call stack" : NULL;
}
