// Formatting and printing. One formatter, written once, used by every message.
//
// Invariant: output never depends on memory allocation, locks held elsewhere or the FS
// register, so that any code may print at any time, also while crashing.

#include "print.h"

#include "console.h"
#include "lock.h"

bool verbose;

#define DEBUG_BUFFER 16384
static char debug_buffer[DEBUG_BUFFER]; // shown when --verbose is read, and by syslog(2)
static size_t debug_length;

struct output {
    char *out;
    size_t size;
    size_t length; // characters the full text has so far
};

static void put(struct output *o, char c) {
    if (o->length + 1 < o->size)
        o->out[o->length] = c;
    o->length++;
}

struct field {
    int width, precision;
    bool zero, left, capital;
};

static void put_text(struct output *o, const char *text, size_t length, const struct field *f) {
    size_t padding = f->width > 0 && (size_t)f->width > length ? f->width - length : 0;

    for (size_t i = 0; !f->left && i < padding; i++)
        put(o, ' ');
    for (size_t i = 0; i < length; i++)
        put(o, text[i]);
    for (size_t i = 0; f->left && i < padding; i++)
        put(o, ' ');
}

static void put_number(struct output *o, u64 value, unsigned base, bool negative,
                       const struct field *f) {
    char digits[24];
    int n = sizeof(digits);

    do {
        digits[--n] = "0123456789abcdef0123456789ABCDEF"[value % base + 16 * f->capital];
        value /= base;
    } while (value);
    while (f->zero && !f->left && (int)sizeof(digits) - n + negative < f->width && n > 1)
        digits[--n] = '0';
    if (negative)
        digits[--n] = '-';
    put_text(o, digits + n, sizeof(digits) - n, f);
}

static size_t bounded_length(const char *text, int limit) {
    size_t n = 0;

    while ((limit < 0 || n < (size_t)limit) && text[n])
        n++;
    return n;
}

static int parse_number(const char **format, va_list *list) {
    int n = 0;

    if (**format == '*') {
        (*format)++;
        return va_arg(*list, int);
    }
    for (; **format >= '0' && **format <= '9'; (*format)++)
        n = n * 10 + **format - '0';
    return n;
}

static const char *put_conversion(struct output *o, const char *format, va_list *list) {
    struct field f = {.precision = -1};
    int longs = 0;

    for (; *format == '0' || *format == '-'; format++)
        *(*format == '0' ? &f.zero : &f.left) = true;
    f.width = parse_number(&format, list);
    if (*format == '.') {
        format++;
        f.precision = parse_number(&format, list);
    }
    for (; *format == 'l' || *format == 'z'; format++)
        longs++;

    switch (*format) {
    case 'd': {
        i64 value = longs ? va_arg(*list, i64) : va_arg(*list, int);
        put_number(o, value < 0 ? -(u64)value : (u64)value, 10, value < 0, &f);
        break;
    }
    case 'u':
        put_number(o, longs ? va_arg(*list, u64) : va_arg(*list, u32), 10, false, &f);
        break;
    case 'X':
        f.capital = true;
        // fall through
    case 'x':
        put_number(o, longs ? va_arg(*list, u64) : va_arg(*list, u32), 16, false, &f);
        break;
    case 'p':
        put(o, '0');
        put(o, 'x');
        put_number(o, (u64)va_arg(*list, void *), 16, false, &f);
        break;
    case 'c': {
        char c = (char)va_arg(*list, int);
        put_text(o, &c, 1, &f);
        break;
    }
    case 's': {
        const char *text = va_arg(*list, const char *);
        text = text ? text : "(null)";
        put_text(o, text, bounded_length(text, f.precision), &f);
        break;
    }
    default:
        put(o, *format);
    }
    return *format ? format + 1 : format;
}

int format_list(char *out, size_t size, const char *format, va_list list) {
    struct output o = {out, size, 0};
    va_list arguments;

    va_copy(arguments, list);
    while (*format) {
        if (*format != '%') {
            put(&o, *format++);
            continue;
        }
        format = put_conversion(&o, format + 1, &arguments);
    }
    va_end(arguments);
    if (size)
        out[MIN(o.length, size - 1)] = 0;
    return (int)o.length;
}

int format_string(char *out, size_t size, const char *format, ...) {
    va_list list;

    va_start(list, format);
    int length = format_list(out, size, format, list);
    va_end(list);
    return length;
}

#define LINE 512

void kprintf(const char *format, ...) {
    char line[LINE];
    va_list list;

    va_start(list, format);
    int length = format_list(line, sizeof(line), format, list);
    va_end(list);
    uart_write(line, MIN(length, LINE - 1));
}

void debug(const char *format, ...) {
    char line[LINE];
    va_list list;

    va_start(list, format);
    size_t length = MIN(format_list(line, sizeof(line), format, list), LINE - 1);
    va_end(list);
    if (verbose)
        uart_write(line, length);
    for (size_t i = 0; i < length && debug_length < DEBUG_BUFFER; i++)
        debug_buffer[debug_length++] = line[i];
}

const char *print_history(size_t *length) {
    *length = debug_length;
    return debug_buffer;
}

// From now on debug() is shown; what was said before is shown first.
void print_verbose(void) {
    if (!verbose)
        uart_write(debug_buffer, debug_length);
    verbose = true;
}
