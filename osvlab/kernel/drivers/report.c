// The report channel: what the kernel tells the host, one JSON object per line.
//
// It is a debug console (QEMU's isa-debugcon): a port that takes bytes and answers its own
// number when read, which is how we know that somebody listens (qemu hw/char/debugcon.c).
//
// Invariant: a line is written as a whole, with interrupts off, so that lines never mix. A
// line that was cut would not be JSON, so report() sends none instead and says so.

#include "report.h"

#include <string.h>

#include "drivers.h"
#include "interrupt.h"
#include "lock.h"

#define REPORT_PORT 0xe9
#define LINE 2048

bool report_present;

static struct spinlock report_lock = SPINLOCK("report");
static char line[LINE];

void report_init(void) {
    report_present = inb(REPORT_PORT) == REPORT_PORT;
}

static void put_bytes(const char *bytes, size_t size) {
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(size) : "d"(REPORT_PORT) : "memory");
}

void report(const char *format, ...) {
    va_list list;

    if (!report_present)
        return;
    u64 flags = spin_lock(&report_lock);
    va_start(list, format);
    int length = format_list(line, sizeof(line) - 1, format, list);
    va_end(list);
    bool fits = length < (int)sizeof(line) - 1;
    if (fits) {
        line[length] = '\n';
        put_bytes(line, length + 1);
    }
    spin_unlock(&report_lock, flags);
    if (!fits)
        debug("report: a line of %d bytes is too long\n", length);
}

void report_part(const char *format, ...) {
    char part[256];
    va_list list;

    if (!report_present)
        return;
    va_start(list, format);
    int length = format_list(part, sizeof(part), format, list);
    va_end(list);
    put_bytes(part, MIN((size_t)length, sizeof(part) - 1));
}

// How many bytes the UTF-8 sequence at `text` has, or 0 if it is none (RFC 3629).
static size_t utf8_length(const u8 *text) {
    u8 first = text[0];
    size_t size = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;

    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool surrogate = first == 0xed && text[1] >= 0xa0;
    bool beyond = first == 0xf4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : size;
}

const char *report_escape(char *out, size_t size, const char *text) {
    size_t used = 0;
    char piece[8];

    for (const u8 *p = (const u8 *)text; *p;) {
        size_t length = utf8_length(p);
        size_t taken = MAX(length, 1UL);
        if (length == 0)
            format_string(piece, sizeof(piece), "\\udc%02x", *p);
        else if (*p < 0x20 || *p == 0x7f)
            format_string(piece, sizeof(piece), "\\u%04x", *p);
        else if (*p == '"' || *p == '\\')
            format_string(piece, sizeof(piece), "\\%c", *p);
        else
            format_string(piece, sizeof(piece), "%.*s", (int)length, (const char *)p);
        size_t needed = strlen(piece);
        if (used + needed >= size)
            break;
        memcpy(out + used, piece, needed);
        used += needed;
        p += taken;
    }
    if (size)
        out[used] = 0;
    return out;
}
