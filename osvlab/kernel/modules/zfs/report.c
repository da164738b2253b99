// Messages for the console, put together here: the module has no printf.

#include "pool.h"

#include <stdarg.h>

const struct zfs_services *zfs_services;

struct line {
    char text[200];
    size_t length;
};

static void put(struct line *line, char c) {
    if (line->length + 1 < sizeof(line->text))
        line->text[line->length++] = c;
}

// What comes from a disk may hold control characters; a console must not obey them.
static void put_text(struct line *line, const char *text) {
    for (; *text != 0; text++)
        put(line, *text >= 0 && *text < ' ' ? '?' : *text);
}

static void put_number(struct line *line, uint64_t value, unsigned base) {
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n > 0)
        put(line, digits[--n]);
}

void zfs_report(const char *format, ...) {
    struct line line = {.length = 0};
    va_list list;

    put_text(&line, "[zfs] ");
    va_start(list, format);
    for (; *format != 0; format++) {
        if (*format != '%') {
            put(&line, *format);
            continue;
        }
        bool is_long = *++format == 'l';
        format += is_long;
        if (*format == 's')
            put_text(&line, va_arg(list, const char *));
        else if (*format == 'u' || *format == 'x')
            put_number(&line, is_long ? va_arg(list, unsigned long) : va_arg(list, unsigned),
                       *format == 'u' ? 10 : 16);
        else
            put(&line, *format);
        if (*format == 0)
            break;
    }
    va_end(list);
    line.text[line.length] = 0;
    zfs_services->say(line.text);
}
