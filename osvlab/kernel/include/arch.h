// The processor as the kernel sees it: registers, per-CPU state, page tables, privileged
// instructions. Everything runs in ring 0 (Intel SDM vol. 3; names are the SDM's).
#pragma once

#include "base.h"

// What every entry into the kernel saves; the order is that of the pushes in arch/entry.S.
struct registers {
    u64 r15, r14, r13, r12, r11, r10, r9, r8;
    u64 rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
    u64 cr2; // filled for page faults; not pushed by the processor
};

#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define TSS_SELECTOR 0x18

#define RFLAGS_INTERRUPT 0x200UL

enum vector {
    VECTOR_DIVIDE = 0,
    VECTOR_DEBUG = 1,
    VECTOR_NMI = 2,
    VECTOR_BREAKPOINT = 3,
    VECTOR_OVERFLOW = 4,
    VECTOR_BOUND = 5,
    VECTOR_OPCODE = 6,
    VECTOR_DOUBLE_FAULT = 8,
    VECTOR_PROTECTION = 13,
    VECTOR_PAGE_FAULT = 14,
    VECTOR_X87 = 16,
    VECTOR_ALIGNMENT = 17,
    VECTOR_SIMD = 19,
    VECTOR_FIRST_INTERRUPT = 32,
    VECTOR_TIMER = 0xf0,
    VECTOR_SPURIOUS = 0xff,
};

// Interrupt stack table slots. Every entry switches stacks, because the code that is
// interrupted may keep live data below its stack pointer (the ABI's red zone).
enum ist { IST_INTERRUPT = 1, IST_EXCEPTION = 2, IST_DOUBLE_FAULT = 3, IST_NMI = 4 };

struct thread;

// State of one processor, found through the GS base. The first three fields are known to entry.S.
struct cpu {
    struct cpu *self;
    u64 syscall_stack;   // where the current thread's system calls run
    u64 application_rsp; // scratch for syscall_entry
    struct thread *thread;
    struct thread *idle;
    bool reschedule; // set by wake-ups and the timer, honoured on the way out of an interrupt
    u64 slice_end;   // when the current thread has had its share, in clock_monotonic time
    u64 timer_armed; // deadline the local APIC is set to, or NEVER
    int id;
};

static inline struct cpu *cpu(void) {
    struct cpu *c;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(c));
    return c;
}

static inline struct thread *this_thread(void) {
    struct thread *t;
    __asm__ volatile("movq %%gs:%c1, %0" : "=r"(t) : "i"(offsetof(struct cpu, thread)));
    return t;
}

static inline u64 read_msr(u32 msr) {
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (u64)high << 32 | low;
}
static inline void write_msr(u32 msr, u64 value) {
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
#define MSR_APIC_BASE 0x1b
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_FMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101

struct cpuid {
    u32 eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(u32 leaf, u32 subleaf) {
    struct cpuid c;
    __asm__ volatile("cpuid"
                     : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
                     : "a"(leaf), "c"(subleaf));
    return c;
}

static inline u64 read_tsc(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static inline u64 read_flags(void) {
    u64 flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags));
    return flags;
}
static inline void interrupts_off(void) {
    __asm__ volatile("cli" : : : "memory");
}
static inline void interrupts_on(void) {
    __asm__ volatile("sti" : : : "memory");
}
static inline void wait_for_interrupt(void) {
    __asm__ volatile("sti; hlt" : : : "memory");
}

// arch/cpu.c
void cpu_init(void); // descriptor tables, FPU, SYSCALL
void cpu_use_stacks(u64 interrupt_top, u64 exception_top);
u64 thread_pointer(void); // the FS base
void thread_pointer_set(u64 base);
extern size_t fpu_area_size; // of the save area, multiple of 64
extern bool cpu_has_rdrand;
void fpu_save(void *area); // area is 64-byte aligned
void fpu_restore(const void *area);
void fpu_area_init(void *area);

// arch/paging.c: the one page table. PROT_* protections; all pages are supervisor pages.
void paging_init(void);
int page_map(u64 address, u64 physical, int protection); // replaces what is there. -ENOMEM
bool page_mapped(u64 address, u64 *physical, int *protection);
u64 page_unmap(u64 address);                        // physical address that was there, or 0
void page_tables_trim(u64 start, u64 end);          // frees tables that became empty
bool safe_read(void *to, u64 address, size_t size); // never faults
void kernel_range(u64 *start, u64 *end);
bool in_kernel_image(u64 address);
bool in_core_text(u64 address);

void page_protect(u64 address, int protection); // of a page that is mapped
bool page_take_dirty(u64 address);              // was it written to since the last time?
u64 page_next_mapped(u64 start, u64 end);       // first mapped page at or after, or `end`

// arch/apic.c
void apic_init(void);
void apic_timer_calibrate(void);
void apic_timer_set(u64 deadline); // clock_monotonic time, or NEVER
void apic_acknowledge(void);

// arch/clock.c
void clock_init_early(void); // starts the reference
void clock_checkpoint(void); // a reading in between, to check the calibration with
void clock_init(void);       // finishes calibration
u64 tsc_to_ns(u64 tsc_delta);
extern u64 boot_tsc;

// arch/entry.S
extern char syscall_entry[], syscall_entry_end[]; // in between, the thread may not change
extern const u64 exception_entries[256];

#define KERNEL_STACKS_BASE 0x600000000000UL
#define DEVICE_BASE 0x700000000000UL
