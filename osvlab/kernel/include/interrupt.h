// Interrupts, as drivers see them.
#pragma once

#include "base.h"

typedef void interrupt_handler(void *argument); // interrupts off; must not sleep

// Takes a free vector for a handler. Returns the vector, or -ENOSPC.
int interrupt_allocate(interrupt_handler *handler, void *argument);

// Routes a line of the I/O APIC (ISA irq or GSI) to a vector and unmasks it.
void interrupt_route(unsigned gsi, int vector, bool level_triggered, bool active_low);

// The message an MSI or MSI-X capability must send to raise the vector on the boot CPU.
u64 msi_address(void);
u32 msi_data(int vector);

static inline void outb(u16 port, u8 value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline void outw(u16 port, u16 value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
static inline void outl(u16 port, u32 value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static inline u8 inb(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u16 inw(u16 port) {
    u16 value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline u32 inl(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
