// Fortified printf and its family. The flag asks glibc to refuse %n in writable formats; that
// is left to the compiler here. LSB 5.0 Core; glibc debug/.

#include "compat.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <wchar.h>

// Calls the function that takes a va_list, from one that takes `...` after `last`.
#define WITH_LIST(last, call)          \
    ({                                 \
        va_list list;                  \
        va_start(list, last);          \
        __typeof__(call) value = call; \
        va_end(list);                  \
        value;                         \
    })

EXPORT int __vfprintf_chk(FILE *file, int flag, const char *format, va_list list) {
    (void)flag;
    return vfprintf(file, format, list);
}

EXPORT int __vprintf_chk(int flag, const char *format, va_list list) {
    (void)flag;
    return vprintf(format, list);
}

EXPORT int __fprintf_chk(FILE *file, int flag, const char *format, ...) {
    (void)flag;
    return WITH_LIST(format, vfprintf(file, format, list));
}

EXPORT int __printf_chk(int flag, const char *format, ...) {
    (void)flag;
    return WITH_LIST(format, vprintf(format, list));
}

EXPORT int __vsnprintf_chk(char *to, size_t size, int flag, size_t room, const char *format,
                           va_list list) {
    (void)flag;
    if (size > room)
        __chk_fail();
    return vsnprintf(to, size, format, list);
}

EXPORT int __snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...) {
    return WITH_LIST(format, __vsnprintf_chk(to, size, flag, room, format, list));
}

EXPORT int __vsprintf_chk(char *to, int flag, size_t room, const char *format, va_list list) {
    (void)flag;
    if (room > INT32_MAX) // unknown
        return vsprintf(to, format, list);
    int length = vsnprintf(to, room, format, list);
    if (length >= 0 && (size_t)length >= room)
        __chk_fail();
    return length;
}

EXPORT int __sprintf_chk(char *to, int flag, size_t room, const char *format, ...) {
    return WITH_LIST(format, __vsprintf_chk(to, flag, room, format, list));
}

EXPORT int __vasprintf_chk(char **to, int flag, const char *format, va_list list) {
    (void)flag;
    return vasprintf(to, format, list);
}

EXPORT int __asprintf_chk(char **to, int flag, const char *format, ...) {
    (void)flag;
    return WITH_LIST(format, vasprintf(to, format, list));
}

EXPORT int __vdprintf_chk(int descriptor, int flag, const char *format, va_list list) {
    (void)flag;
    return vdprintf(descriptor, format, list);
}

EXPORT int __dprintf_chk(int descriptor, int flag, const char *format, ...) {
    (void)flag;
    return WITH_LIST(format, vdprintf(descriptor, format, list));
}

EXPORT void __vsyslog_chk(int priority, int flag, const char *format, va_list list) {
    (void)flag;
    vsyslog(priority, format, list);
}

EXPORT void __syslog_chk(int priority, int flag, const char *format, ...) {
    va_list list;
    (void)flag;
    va_start(list, format);
    vsyslog(priority, format, list);
    va_end(list);
}

EXPORT int __vfwprintf_chk(FILE *file, int flag, const wchar_t *format, va_list list) {
    (void)flag;
    return vfwprintf(file, format, list);
}

EXPORT int __vwprintf_chk(int flag, const wchar_t *format, va_list list) {
    (void)flag;
    return vwprintf(format, list);
}

EXPORT int __fwprintf_chk(FILE *file, int flag, const wchar_t *format, ...) {
    (void)flag;
    return WITH_LIST(format, vfwprintf(file, format, list));
}

EXPORT int __wprintf_chk(int flag, const wchar_t *format, ...) {
    (void)flag;
    return WITH_LIST(format, vwprintf(format, list));
}

EXPORT int __vswprintf_chk(wchar_t *to, size_t count, int flag, size_t room, const wchar_t *format,
                           va_list list) {
    (void)flag;
    if (count > room)
        __chk_fail();
    return vswprintf(to, count, format, list);
}

EXPORT int __swprintf_chk(wchar_t *to, size_t count, int flag, size_t room, const wchar_t *format,
                          ...) {
    return WITH_LIST(format, __vswprintf_chk(to, count, flag, room, format, list));
}

EXPORT size_t __fread_chk(void *to, size_t room, size_t size, size_t count, FILE *file) {
    size_t bytes;
    if (__builtin_mul_overflow(size, count, &bytes) || bytes > room)
        __chk_fail();
    return fread(to, size, count, file);
}

EXPORT char *__fgets_chk(char *to, size_t room, int size, FILE *file) {
    if (size > 0 && (size_t)size > room)
        __chk_fail();
    return fgets(to, size, file);
}

EXPORT char *__gets_chk(char *to, size_t room) {
    char *line = fgets(to, room > INT32_MAX ? INT32_MAX : (int)room, stdin);
    for (char *c = line; c && *c; c++)
        if (*c == '\n' && !c[1])
            *c = 0;
    return line;
}

EXPORT wchar_t *__fgetws_chk(wchar_t *to, size_t room, int size, FILE *file) {
    if (size > 0 && (size_t)size > room)
        __chk_fail();
    return fgetws(to, size, file);
}
