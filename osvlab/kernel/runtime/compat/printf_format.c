// parse_printf_format: which arguments a format of printf takes (glibc manual, "Parsing a Template
// String"). libsystemd asks, and with it whatever the distribution links with that.

#include "compat.h"

#include <string.h>

// glibc's <printf.h>
enum { INT, CHAR, WCHAR, STRING, WSTRING, POINTER, FLOAT, DOUBLE };
enum { LONG_DOUBLE = 1 << 8, LONG = 1 << 9, SHORT = 1 << 10, POINTS = 1 << 11 };

struct arguments {
    size_t count, room, next;
    int *types;
};

static void note(struct arguments *arguments, size_t place, int type) {
    if (place < arguments->room)
        arguments->types[place] = type;
    if (place >= arguments->count)
        arguments->count = place + 1;
}

// A number that a "$" follows names an argument, counted from 1; else the next one is meant.
static size_t place_of(const char **at, struct arguments *arguments) {
    const char *end = *at + strspn(*at, "0123456789");
    size_t number = 0;

    if (*end != '$' || end - *at > 4)
        return arguments->next++;
    for (; *at < end; (*at)++)
        number = number * 10 + (size_t)(**at - '0');
    *at = end + 1;
    return number ? number - 1 : 0;
}

static void skip_number(const char **at, struct arguments *arguments) {
    if (**at == '*') {
        (*at)++;
        note(arguments, place_of(at, arguments), INT);
    } else {
        *at += strspn(*at, "0123456789");
    }
}

// What is as large as a long is called one.
static int length_of(const char **at) {
    int length = 0;

    for (; **at && strchr("hlqLjzt", **at); (*at)++) {
        if (**at == 'h')
            length = length == SHORT ? CHAR : SHORT;
        else
            length = **at == 'L' ? LONG_DOUBLE : LONG;
    }
    return length;
}

// -1: it takes none. Only of numbers does glibc heed the length.
static int type_of(char conversion, int length) {
    if (conversion && strchr("diouxX", conversion))
        return length == CHAR ? CHAR : length == LONG_DOUBLE ? LONG : length;
    if (conversion && strchr("aAeEfFgG", conversion))
        return DOUBLE | (length & LONG_DOUBLE);
    switch (conversion) {
    case 'c':
        return CHAR;
    case 'C':
        return WCHAR;
    case 's':
        return STRING;
    case 'S':
        return WSTRING;
    case 'p':
        return POINTER;
    case 'n':
        return INT | POINTS;
    }
    return -1;
}

static const char *take_directive(const char *at, struct arguments *arguments) {
    const char *digits = at + strspn(at, "0123456789");
    bool placed = *digits == '$';
    size_t place = placed ? place_of(&at, arguments) : 0;

    at += strspn(at, "-+ #0'I");
    skip_number(&at, arguments);
    if (*at == '.') {
        at++;
        skip_number(&at, arguments);
    }
    int length = length_of(&at), type = type_of(*at, length);
    if (type >= 0)
        note(arguments, placed ? place : arguments->next++, type);
    return *at ? at + 1 : at;
}

EXPORT size_t parse_printf_format(const char *format, size_t room, int *types) {
    struct arguments arguments = {.room = room, .types = types};

    while ((format = strchr(format, '%')))
        format = take_directive(format + 1, &arguments);
    return arguments.count;
}
