// Descriptor tables, the FPU and the SYSCALL instruction of one processor.
//
// Invariant: the kernel runs with these tables only after cpu_init; GS always points to
// `struct cpu`, whoever runs, because applications run in ring 0 too and leave GS alone.

#include "arch.h"

#include "print.h"

struct tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3, io_map;
} __attribute__((packed));

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};

struct table_pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));

static struct cpu boot_cpu;
static struct tss tss;
static u64 gdt[5] = {0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0, 0};
static struct gate idt[256];
static u8 double_fault_stack[4096] __attribute__((aligned(16)));
static u8 nmi_stack[4096] __attribute__((aligned(16)));
static u8 boot_exception_stack[8192] __attribute__((aligned(16)));

size_t fpu_area_size = 512;
bool cpu_has_rdrand;
static bool has_xsave, has_fsgsbase;

#define INTERRUPT_GATE 0x8e

static u8 stack_of(int vector) {
    switch (vector) {
    case VECTOR_DOUBLE_FAULT:
        return IST_DOUBLE_FAULT;
    case VECTOR_NMI:
        return IST_NMI;
    default:
        return vector < VECTOR_FIRST_INTERRUPT ? IST_EXCEPTION : IST_INTERRUPT;
    }
}

static void load_idt(void) {
    for (int vector = 0; vector < 256; vector++) {
        u64 entry = exception_entries[vector];
        idt[vector] = (struct gate){
            .offset_low = (u16)entry,
            .selector = CODE_SELECTOR,
            .ist = stack_of(vector),
            .type = INTERRUPT_GATE,
            .offset_middle = (u16)(entry >> 16),
            .offset_high = (u32)(entry >> 32),
        };
    }
    struct table_pointer pointer = {sizeof(idt) - 1, (u64)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void load_gdt(void) {
    u64 base = (u64)&tss;
    gdt[3] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89UL << 40 | (base >> 24 & 0xff) << 56;
    gdt[4] = base >> 32;
    struct table_pointer pointer = {sizeof(gdt) - 1, (u64)gdt};
    __asm__ volatile("lgdt %0" : : "m"(pointer));
    __asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
}

// System calls come from ring 0 and stay there: CS and SS do not change, and the handler
// returns with a jump instead of SYSRET. Interrupts stay on: they have stacks of their own.
static void enable_syscall(void) {
    write_msr(MSR_STAR, (u64)CODE_SELECTOR << 32);
    write_msr(MSR_LSTAR, (u64)syscall_entry);
    write_msr(MSR_FMASK, 0x500); // TF, DF
}

static void enable_features(void) {
    struct cpuid features = cpuid(1, 0);
    u64 cr4;

    cpu_has_rdrand = features.ecx >> 30 & 1;
    has_xsave = features.ecx >> 26 & 1;
    has_fsgsbase = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & 1);

    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    cr4 |= has_xsave ? 1UL << 18 : 0;
    cr4 |= has_fsgsbase ? 1UL << 16 : 0;
    __asm__ volatile("movq %0, %%cr4" : : "r"(cr4));

    if (has_xsave) { // x87, SSE, AVX, and AVX-512's three parts where supported
        u32 supported = cpuid(0xd, 0).eax & 0xe7;
        __asm__ volatile("xsetbv" : : "c"(0), "a"(supported), "d"(0));
        fpu_area_size = ALIGN_UP(cpuid(0xd, 0).ebx, 64);
    }
    __asm__ volatile("fninit");
}

void cpu_init(void) {
    boot_cpu.self = &boot_cpu;
    boot_cpu.timer_armed = NEVER;
    write_msr(MSR_GS_BASE, (u64)&boot_cpu);

    tss.ist[IST_DOUBLE_FAULT - 1] = (u64)(double_fault_stack + sizeof(double_fault_stack));
    tss.ist[IST_NMI - 1] = (u64)(nmi_stack + sizeof(nmi_stack));
    tss.io_map = sizeof(tss);
    u64 early = (u64)(boot_exception_stack + sizeof(boot_exception_stack));
    cpu_use_stacks(early - 4096, early);
    load_gdt();
    load_idt();
    enable_features();
    enable_syscall();
}

void cpu_use_stacks(u64 interrupt_top, u64 exception_top) {
    tss.ist[IST_INTERRUPT - 1] = interrupt_top;
    tss.ist[IST_EXCEPTION - 1] = exception_top;
}

u64 thread_pointer(void) {
    if (!has_fsgsbase)
        return read_msr(MSR_FS_BASE);
    u64 base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

void thread_pointer_set(u64 base) {
    if (has_fsgsbase)
        __asm__ volatile("wrfsbase %0" : : "r"(base));
    else
        write_msr(MSR_FS_BASE, base);
}

void fpu_save(void *area) {
    if (has_xsave)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

void fpu_restore(const void *area) {
    if (has_xsave)
        __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

// A fresh thread's floating-point state: everything masked, as the ABI wants it (psABI 3.4.1).
void fpu_area_init(void *area) {
    *(u16 *)((u8 *)area + 0) = 0x37f;   // x87 control word
    *(u32 *)((u8 *)area + 24) = 0x1f80; // MXCSR
    if (has_xsave)
        *(u64 *)((u8 *)area + 512) = 3; // XSTATE_BV: x87 and SSE are present
}
