// Small functions that glibc has and musl does not (some only in later versions of it).

#include "compat.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

EXPORT const char *gnu_get_libc_version(void) {
    return "2.36"; // the version whose interface is followed
}

EXPORT const char *gnu_get_libc_release(void) {
    return "stable";
}

// NULL for what is no error; strerror has words for everything.
EXPORT const char *strerrordesc_np(int error) {
    const char *text = strerror(error);
    if (error == 0)
        return "Success";
    return text == strerror(-1) ? NULL : text;
}

// error(3)
EXPORT void (*error_print_progname)(void);
EXPORT unsigned error_message_count;
EXPORT int error_one_per_line;

static void say_error(int status, int number, const char *file, unsigned line, const char *format,
                      va_list list) {
    fflush(stdout);
    if (error_print_progname)
        error_print_progname();
    else
        fprintf(stderr, file ? "%s:" : "%s: ", program_invocation_name);
    if (file)
        fprintf(stderr, "%s:%u: ", file, line);
    vfprintf(stderr, format, list);
    if (number)
        fprintf(stderr, ": %s", strerror(number));
    putc('\n', stderr);
    error_message_count++;
    if (status)
        exit(status);
}

EXPORT void error(int status, int number, const char *format, ...) {
    va_list list;
    va_start(list, format);
    say_error(status, number, NULL, 0, format, list);
    va_end(list);
}

EXPORT void error_at_line(int status, int number, const char *file, unsigned line,
                          const char *format, ...) {
    static const char *last_file;
    static unsigned last_line;
    va_list list;
    if (error_one_per_line && last_line == line && last_file && file && !strcmp(file, last_file))
        return;
    last_file = file;
    last_line = line;
    va_start(list, format);
    say_error(status, number, file, line, format, list);
    va_end(list);
}

EXPORT void *rawmemchr(const void *from, int c) {
    const unsigned char *at = from;
    while (*at != (unsigned char)c)
        at++;
    return (void *)at;
}

EXPORT void arc4random_buf(void *to, size_t size) {
    char *at = to;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno != EINTR)
            abort();
        at += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
}

EXPORT uint32_t arc4random(void) {
    uint32_t value;
    arc4random_buf(&value, sizeof(value));
    return value;
}

// Uniform below `bound`: values that would favour some remainders are thrown away.
EXPORT uint32_t arc4random_uniform(uint32_t bound) {
    uint32_t value, least = bound ? -bound % bound : 0;
    do {
        value = arc4random();
    } while (value < least);
    return bound ? value % bound : 0;
}

EXPORT char *canonicalize_file_name(const char *path) {
    return realpath(path, NULL);
}

EXPORT unsigned gnu_dev_major(dev_t device) {
    return major(device);
}

EXPORT unsigned gnu_dev_minor(dev_t device) {
    return minor(device);
}

EXPORT dev_t gnu_dev_makedev(unsigned major_number, unsigned minor_number) {
    return makedev(major_number, minor_number);
}

EXPORT int group_member(gid_t group) {
    gid_t groups[64];
    int count = getgroups(64, groups);
    if (group == getgid() || group == getegid())
        return 1;
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return 1;
    return 0;
}

EXPORT int rpmatch(const char *answer) {
    return strchr("yY", *answer) && *answer ? 1 : strchr("nN", *answer) && *answer ? 0 : -1;
}

struct exit_function {
    void (*function)(int, void *);
    void *argument;
};

// on_exit(3), approximately: the status it is given is 0.
static void run_exit_function(void *entry) {
    struct exit_function *e = entry;
    e->function(0, e->argument);
    free(e);
}

extern int __cxa_atexit(void (*function)(void *), void *argument, void *library);
EXPORT int on_exit(void (*function)(int, void *), void *argument) {
    struct exit_function *entry = malloc(sizeof(*entry));
    if (!entry)
        return -1;
    *entry = (struct exit_function){function, argument};
    return __cxa_atexit(run_exit_function, entry, NULL);
}

EXPORT int __cxa_at_quick_exit(void (*function)(void), void *library) {
    (void)library;
    return at_quick_exit(function);
}

EXPORT _Noreturn void __assert(const char *expression, const char *file, int line) {
    fprintf(stderr, "%s: %s:%d: Assertion `%s' failed.\n", program_invocation_short_name, file,
            line, expression);
    abort();
}

EXPORT _Noreturn void __assert_perror_fail(int error, const char *file, unsigned line,
                                           const char *function) {
    fprintf(stderr, "%s: %s:%u: %s: Unexpected error: %s.\n", program_invocation_short_name, file,
            line, function, strerror(error));
    abort();
}

// malloc's knobs and gauges: there is nothing to turn, and nothing is measured.
struct glibc_mallinfo {
    int fields[10];
};
struct glibc_mallinfo2 {
    size_t fields[10];
};

EXPORT struct glibc_mallinfo mallinfo(void) {
    return (struct glibc_mallinfo){{0}};
}

EXPORT struct glibc_mallinfo2 mallinfo2(void) {
    return (struct glibc_mallinfo2){{0}};
}

EXPORT int mallopt(int parameter, int value) {
    (void)parameter, (void)value;
    return 1;
}

EXPORT int malloc_trim(size_t pad) {
    (void)pad;
    return 0;
}

EXPORT void malloc_stats(void) {}

EXPORT void mtrace(void) {}

EXPORT void muntrace(void) {}

// <math.h>: functions where musl has macros.
#undef isinf
#undef isnan
EXPORT int isinf(double x) {
    return __builtin_isinf_sign(x);
}

EXPORT int isnan(double x) {
    return __builtin_isnan(x);
}

EXPORT int isinff(float x) {
    return __builtin_isinf_sign(x);
}

EXPORT int isnanf(float x) {
    return __builtin_isnan(x);
}

EXPORT int isinfl(long double x) {
    return __builtin_isinf_sign(x);
}

EXPORT int isnanl(long double x) {
    return __builtin_isnan(x);
}

EXPORT int finitel(long double x) {
    return __builtin_isfinite(x);
}

EXPORT int __isinf(double x) __attribute__((alias("isinf")));
EXPORT int __isnan(double x) __attribute__((alias("isnan")));
EXPORT int __isinff(float x) __attribute__((alias("isinff")));
EXPORT int __isnanf(float x) __attribute__((alias("isnanf")));
EXPORT int __isinfl(long double x) __attribute__((alias("isinfl")));
EXPORT int __isnanl(long double x) __attribute__((alias("isnanl")));
EXPORT int __finitel(long double x) __attribute__((alias("finitel")));

// gettext's counter of catalogue changes, which programs may poke.
EXPORT int _nl_msg_cat_cntr;

// Where the program's stack begins: garbage collectors start scanning there.
EXPORT void *__libc_stack_end;
