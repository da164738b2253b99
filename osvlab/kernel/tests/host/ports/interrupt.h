// Stands in for include/interrupt.h in host tests: port accesses go to the test.
#pragma once

#include "base.h"

typedef void interrupt_handler(void *argument);

int interrupt_allocate(interrupt_handler *handler, void *argument);
void interrupt_route(unsigned gsi, int vector, bool level_triggered, bool active_low);
u64 msi_address(void);
u32 msi_data(int vector);

void port_write(u16 port, unsigned size, u32 value);
u32 port_read(u16 port, unsigned size);

static inline void outb(u16 port, u8 value) {
    port_write(port, 1, value);
}
static inline void outw(u16 port, u16 value) {
    port_write(port, 2, value);
}
static inline void outl(u16 port, u32 value) {
    port_write(port, 4, value);
}
static inline u8 inb(u16 port) {
    return (u8)port_read(port, 1);
}
static inline u16 inw(u16 port) {
    return (u16)port_read(port, 2);
}
static inline u32 inl(u16 port) {
    return port_read(port, 4);
}
