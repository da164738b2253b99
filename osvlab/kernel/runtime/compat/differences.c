// Where glibc and musl have the same name for different things. A program linked with glibc
// gets glibc's behaviour, one linked with musl keeps musl's.

#include "compat.h"

#include <errno.h>
#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../linker/linker.h"

bool compat_is_glibc(void) {
    return application.wants_glibc;
}

// glibc: returns the text; the result fits int and pointer alike. (POSIX's form is
// __xpg_strerror_r, which glibc's headers choose where POSIX is asked for.)
EXPORT intptr_t strerror_r_(int error, char *to, size_t size) __asm__("strerror_r");
EXPORT intptr_t strerror_r_(int error, char *to, size_t size) {
    const char *text = strerror(error);
    size_t length = strlen(text);
    if (compat_is_glibc())
        return (intptr_t)text;
    if (length >= size) {
        if (size) {
            memcpy(to, text, size - 1);
            to[size - 1] = 0;
        }
        return ERANGE;
    }
    memcpy(to, text, length + 1);
    return 0;
}

// musl's renamed __xpg_ form calls the plain one's body in its own file, so both are here.
EXPORT int __xpg_strerror_r(int error, char *to, size_t size) {
    const char *text = strerror(error);
    snprintf(to, size, "%s", text);
    return strlen(text) < size ? 0 : ERANGE;
}

// POSIX: may shorten its argument, "" is ".".
EXPORT char *__xpg_basename(char *path) {
    if (!path || !*path)
        return (char *)".";
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        path[--end] = 0;
    char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

// glibc's <string.h>: leaves its argument alone, "a/" is "".
EXPORT char *basename_(char *path) __asm__("basename");
EXPORT char *basename_(char *path) {
    if (!compat_is_glibc())
        return __xpg_basename(path);
    char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

HIDDEN int musl_regcomp(regex_t *restrict regex, const char *restrict pattern, int flags);

// glibc's re_nsub lies 48 bytes into its regex_t of the same size, where musl keeps nothing.
EXPORT int regcomp(regex_t *restrict regex, const char *restrict pattern, int flags) {
    int result = musl_regcomp(regex, pattern, flags);
    if (!result && compat_is_glibc())
        regex->__nsub2 = regex->re_nsub;
    return result;
}

// glibc's regoff_t is an int, musl's is a long.
HIDDEN int musl_regexec(const regex_t *restrict regex, const char *restrict text, size_t count,
                        regmatch_t *restrict matches, int flags);
struct glibc_match {
    int start, end;
};

EXPORT int regexec(const regex_t *restrict regex, const char *restrict text, size_t count,
                   regmatch_t *restrict matches, int flags) {
    enum { FEW = 16 };
    regmatch_t few[FEW], *own = few;
    if (!compat_is_glibc() || !count || !matches)
        return musl_regexec(regex, text, count, matches, flags);
    if (count > FEW && !(own = __libc_malloc(count * sizeof(*own))))
        return REG_ESPACE;
    int result = musl_regexec(regex, text, count, own, flags);
    struct glibc_match *out = (struct glibc_match *)matches;
    for (size_t i = 0; i < count && !result; i++)
        out[i] = (struct glibc_match){(int)own[i].rm_so, (int)own[i].rm_eo};
    if (own != few)
        __libc_free(own);
    return result;
}
