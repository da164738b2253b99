// The serial console: a 16550 at COM1 (National Semiconductor PC16550D data sheet).
//
// Output is polled, because it must work before interrupts do and while crashing; input
// comes by interrupt and is handed, byte by byte, to whoever registered.
//
// Invariant: at most one FIFO's worth (16 bytes) is written per look at the line status
// register, so that a slow reader on the host slows us down and loses nothing.

#include "console.h"

#include "interrupt.h"
#include "lock.h"

#define COM1 0x3f8
#define COM1_IRQ 4

enum {
    DATA = 0,
    INTERRUPT_ENABLE = 1,
    FIFO_CONTROL = 2,
    LINE_CONTROL = 3,
    MODEM_CONTROL = 4,
    LINE_STATUS = 5
};
enum { STATUS_RECEIVED = 0x01, STATUS_FIFO_EMPTY = 0x20, STATUS_IDLE = 0x40 };

#define FIFO_SIZE 16

static struct spinlock uart_lock = SPINLOCK("uart");
static void (*receive)(u8 byte);
static int early_byte = -1; // typed before the FIFO was switched on, which empties it

void uart_init(void) {
    outb(COM1 + INTERRUPT_ENABLE, 0);
    outb(COM1 + LINE_CONTROL, 0x80); // divisor latch
    outb(COM1 + DATA, 1);            // 115200 baud
    outb(COM1 + INTERRUPT_ENABLE, 0);
    outb(COM1 + LINE_CONTROL, 0x03); // 8 bits, no parity, one stop bit
    if (inb(COM1 + LINE_STATUS) & STATUS_RECEIVED)
        early_byte = inb(COM1 + DATA);
    outb(COM1 + FIFO_CONTROL, 0x07); // enable and clear the FIFOs
    outb(COM1 + MODEM_CONTROL, 0x0b);
}

static void wait_status(u8 bit) {
    // A machine without a UART reads all ones, so this cannot hang.
    while (!(inb(COM1 + LINE_STATUS) & bit))
        __asm__ volatile("pause");
}

void uart_write(const char *text, size_t size) {
    u64 flags = spin_lock(&uart_lock);
    int room = 0;

    for (size_t i = 0; i < size; i++) {
        if (room < 2) {
            wait_status(STATUS_FIFO_EMPTY);
            room = FIFO_SIZE;
        }
        if (text[i] == '\n') {
            outb(COM1 + DATA, '\r');
            room--;
        }
        outb(COM1 + DATA, (u8)text[i]);
        room--;
    }
    spin_unlock(&uart_lock, flags);
}

void uart_seize(void) {
    uart_lock.held = 0;
}

void uart_drain(void) {
    wait_status(STATUS_IDLE);
}

static void uart_interrupt(void *unused) {
    (void)unused;
    while (inb(COM1 + LINE_STATUS) & STATUS_RECEIVED) {
        u8 byte = inb(COM1 + DATA);
        if (receive)
            receive(byte);
    }
}

void uart_set_receiver(void (*receiver)(u8 byte)) {
    receive = receiver;
    if (early_byte >= 0)
        receive((u8)early_byte);
    int vector = interrupt_allocate(uart_interrupt, NULL);
    if (vector < 0)
        return;
    interrupt_route(COM1_IRQ, vector, false, false);
    outb(COM1 + INTERRUPT_ENABLE, 0x01); // "data received"
}
