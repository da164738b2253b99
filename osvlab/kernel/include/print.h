// Saying things: on the console, in the debug buffer, and last words.
//
// Formats: %d %u %x %p %s %c %% with l/ll/z, width, 0 and - flags, %.*s; no floating point.
#pragma once

#include <stdarg.h>

#include "base.h"

#define PRINTF(a, b) __attribute__((format(printf, a, b)))

// Always shown on the console.
void kprintf(const char *format, ...) PRINTF(1, 2);

// Shown on the console with --verbose; always kept in the debug buffer.
void debug(const char *format, ...) PRINTF(1, 2);

// Like snprintf: writes at most size bytes with the NUL, returns the length it would have had.
int format_string(char *out, size_t size, const char *format, ...) PRINTF(3, 4);
int format_list(char *out, size_t size, const char *format, va_list list);

// The kernel cannot go on: says why, with registers and a backtrace, and powers off.
_Noreturn void panic(const char *format, ...) PRINTF(1, 2);

#define ASSERT(condition) \
    ((condition) ? (void)0 : panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition))

extern bool verbose;

const char *print_history(size_t *length); // the debug buffer
void print_verbose(void);                  // turns --verbose on and shows what was kept so far
