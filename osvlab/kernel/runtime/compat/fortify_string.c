// Fortified memory and string functions: what gcc -D_FORTIFY_SOURCE calls when it knows the
// size of the destination but not that the result fits. Names and order of the arguments:
// LSB 5.0 Core, "Interface definitions", and glibc's debug/ directory.

#include "compat.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

EXPORT _Noreturn void __chk_fail(void) {
    static const char text[] = "*** buffer overflow detected ***: terminated\n";
    write(2, text, sizeof(text) - 1);
    abort();
}

static void check(size_t need, size_t room) {
    if (need > room)
        __chk_fail();
}

EXPORT void *__memcpy_chk(void *to, const void *from, size_t size, size_t room) {
    check(size, room);
    return memcpy(to, from, size);
}

EXPORT void *__memmove_chk(void *to, const void *from, size_t size, size_t room) {
    check(size, room);
    return memmove(to, from, size);
}

EXPORT void *__mempcpy_chk(void *to, const void *from, size_t size, size_t room) {
    check(size, room);
    return mempcpy(to, from, size);
}

EXPORT void *__memset_chk(void *to, int value, size_t size, size_t room) {
    check(size, room);
    return memset(to, value, size);
}

EXPORT void __explicit_bzero_chk(void *to, size_t size, size_t room) {
    check(size, room);
    explicit_bzero(to, size);
}

EXPORT char *__strcpy_chk(char *to, const char *from, size_t room) {
    check(strlen(from) + 1, room);
    return strcpy(to, from);
}

EXPORT char *__stpcpy_chk(char *to, const char *from, size_t room) {
    check(strlen(from) + 1, room);
    return stpcpy(to, from);
}

EXPORT char *__strncpy_chk(char *to, const char *from, size_t size, size_t room) {
    check(size, room);
    return strncpy(to, from, size);
}

EXPORT char *__stpncpy_chk(char *to, const char *from, size_t size, size_t room) {
    check(size, room);
    return stpncpy(to, from, size);
}

EXPORT char *__strcat_chk(char *to, const char *from, size_t room) {
    check(strlen(to) + strlen(from) + 1, room);
    return strcat(to, from);
}

EXPORT char *__strncat_chk(char *to, const char *from, size_t size, size_t room) {
    check(strlen(to) + strnlen(from, size) + 1, room);
    return strncat(to, from, size);
}

EXPORT size_t __strlcpy_chk(char *to, const char *from, size_t size, size_t room) {
    check(size, room);
    return strlcpy(to, from, size);
}

EXPORT size_t __strlcat_chk(char *to, const char *from, size_t size, size_t room) {
    check(size, room);
    return strlcat(to, from, size);
}

EXPORT wchar_t *__wmemcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(count, room);
    return wmemcpy(to, from, count);
}

EXPORT wchar_t *__wmemmove_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(count, room);
    return wmemmove(to, from, count);
}

EXPORT wchar_t *__wmempcpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(count, room);
    return wmemcpy(to, from, count) + count;
}

EXPORT wchar_t *__wmemset_chk(wchar_t *to, wchar_t value, size_t count, size_t room) {
    check(count, room);
    return wmemset(to, value, count);
}

EXPORT wchar_t *__wcscpy_chk(wchar_t *to, const wchar_t *from, size_t room) {
    check(wcslen(from) + 1, room);
    return wcscpy(to, from);
}

EXPORT wchar_t *__wcpcpy_chk(wchar_t *to, const wchar_t *from, size_t room) {
    check(wcslen(from) + 1, room);
    return wcpcpy(to, from);
}

EXPORT wchar_t *__wcsncpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(count, room);
    return wcsncpy(to, from, count);
}

EXPORT wchar_t *__wcpncpy_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(count, room);
    return wcpncpy(to, from, count);
}

EXPORT wchar_t *__wcscat_chk(wchar_t *to, const wchar_t *from, size_t room) {
    check(wcslen(to) + wcslen(from) + 1, room);
    return wcscat(to, from);
}

EXPORT wchar_t *__wcsncat_chk(wchar_t *to, const wchar_t *from, size_t count, size_t room) {
    check(wcslen(to) + wcsnlen(from, count) + 1, room);
    return wcsncat(to, from, count);
}

EXPORT size_t __mbstowcs_chk(wchar_t *to, const char *from, size_t count, size_t room) {
    check(to ? count : 0, room);
    return mbstowcs(to, from, count);
}

EXPORT size_t __wcstombs_chk(char *to, const wchar_t *from, size_t count, size_t room) {
    check(to ? count : 0, room);
    return wcstombs(to, from, count);
}

EXPORT size_t __mbsrtowcs_chk(wchar_t *to, const char **from, size_t count, mbstate_t *state,
                              size_t room) {
    check(to ? count : 0, room);
    return mbsrtowcs(to, from, count, state);
}

EXPORT size_t __wcsrtombs_chk(char *to, const wchar_t **from, size_t count, mbstate_t *state,
                              size_t room) {
    check(to ? count : 0, room);
    return wcsrtombs(to, from, count, state);
}

EXPORT size_t __mbsnrtowcs_chk(wchar_t *to, const char **from, size_t size, size_t count,
                               mbstate_t *state, size_t room) {
    check(to ? count : 0, room);
    return mbsnrtowcs(to, from, size, count, state);
}

EXPORT size_t __wcsnrtombs_chk(char *to, const wchar_t **from, size_t size, size_t count,
                               mbstate_t *state, size_t room) {
    check(to ? count : 0, room);
    return wcsnrtombs(to, from, size, count, state);
}

EXPORT size_t __wcrtomb_chk(char *to, wchar_t c, mbstate_t *state, size_t room) {
    check(to ? MB_CUR_MAX : 0, room);
    return wcrtomb(to, c, state);
}

EXPORT int __wctomb_chk(char *to, wchar_t c, size_t room) {
    check(to ? MB_CUR_MAX : 0, room);
    return wctomb(to, c);
}
