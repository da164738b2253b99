// The serial console, COM1.
#pragma once

#include "base.h"

void uart_init(void);
void uart_write(const char *text, size_t size); // raw bytes; \n becomes \r\n
void uart_drain(void);                          // returns when the last byte has left

// Forgets who is writing: a crash writes in any state.
void uart_seize(void);

// Every received byte is given to this function from the interrupt handler.
void uart_set_receiver(void (*receiver)(u8 byte));
