// The report channel: JSON lines on the debug console port 0xE9, read by the host.
#pragma once

#include "print.h"

extern bool report_present;

// Writes one line; the caller makes it valid JSON.
void report(const char *format, ...) PRINTF(1, 2);

// Writes a part of a line, at most 255 bytes; for lines that grow while they are found out.
void report_part(const char *format, ...) PRINTF(1, 2);

// Escapes text for a JSON string into `out` (always NUL-terminated), returns out. Bytes that are
// not UTF-8 become \udc80...\udcff, which Python's os.fsencode turns back into these bytes.
const char *report_escape(char *out, size_t size, const char *text);

// Ends the run: reports the status, drains the console, powers off.
_Noreturn void power_off(int status);
