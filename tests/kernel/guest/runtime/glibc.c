// Where glibc and musl differ, and names that only glibc has.
#include "check.h"
#include <printf.h>
#include <stdarg.h>
#include <ctype.h>
#include <errno.h>
#include <error.h>
#include <execinfo.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <gnu/libc-version.h>
#include <obstack.h>
#include <pthread.h>
#include <regex.h>
#include <string.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <wchar.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

static ucontext_t here, there;
static int visits, total;

static void visit(int a, int b, int c, int d, int e, int f, int g) {
    total = a + b + c + d + e + f + g;
    for (visits = 1; visits < 3; visits++)
        swapcontext(&there, &here);
}

static void check_contexts(void) {
    static char stack[64 << 10];
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof(stack);
    there.uc_link = &here;
    makecontext(&there, (void (*)(void))visit, 7, 1, 2, 3, 4, 5, 6, 7);
    swapcontext(&here, &there);
    CHECK(visits == 1 && total == 28);
    swapcontext(&here, &there);
    CHECK(visits == 2);
    swapcontext(&here, &there);
    CHECK(visits == 3); // it returned, to uc_link
}

static void check_texts(void) {
    char buffer[64], path[] = "/a/b/";
    CHECK(strerror_r(ENOENT, buffer, sizeof(buffer)) &&
          !strcmp(strerror_r(ENOENT, buffer, sizeof(buffer)), strerror(ENOENT)));
    CHECK(!strcmp(basename(path), "") && !strcmp(path, "/a/b/"));
    regex_t regex;
    regmatch_t match[3] = {{-5, -5}, {-5, -5}, {-5, -5}};
    CHECK(!regcomp(&regex, "a(b+)c", REG_EXTENDED) && !regexec(&regex, "xxabbcx", 2, match, 0));
    CHECK(match[0].rm_so == 2 && match[0].rm_eo == 6 && match[1].rm_so == 3 &&
          match[1].rm_eo == 5 && match[2].rm_so == -5);
    CHECK(regex.re_nsub == 1);
    regfree(&regex);
    CHECK(isalpha('a') && toupper('b') == 'B' && wcslen(L"wide") == 4);
    int value = 0;
    CHECK(sscanf("12 x", "%d", &value) == 1 && value == 12 && strtol("0x10", NULL, 16) == 16);
    CHECK(gnu_get_libc_version() && rawmemchr("abc", 'c'));
}

static void check_mutex(void) {
    pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    CHECK(!pthread_mutex_lock(&mutex) && !pthread_mutex_lock(&mutex));
    CHECK(!pthread_mutex_unlock(&mutex) && !pthread_mutex_unlock(&mutex));
    pthread_attr_t attributes;
    void *stack;
    size_t size;
    CHECK(!pthread_getattr_np(pthread_self(), &attributes) &&
          !pthread_attr_getstack(&attributes, &stack, &size));
    CHECK((char *)&size > (char *)stack && (char *)&size < (char *)stack + size && size >= 1 << 20);
}

static void check_obstack(void) {
    struct obstack stack;
    obstack_init(&stack);
    char *first = obstack_copy0(&stack, "first", 5);
    for (int i = 0; i < 20000; i++)
        obstack_1grow(&stack, 'x');
    char *big = obstack_finish(&stack);
    CHECK(big[0] == 'x' && big[19999] == 'x' && !strcmp(first, "first"));
    obstack_free(&stack, big);
    CHECK(!strcmp(obstack_copy0(&stack, "next", 4), "next"));
    CHECK(obstack_printf(&stack, "%05d and %s", 42, "text") == 14);
    obstack_1grow(&stack, 0);
    CHECK(!strcmp(obstack_finish(&stack), "00042 and text"));
    obstack_free(&stack, NULL);
}

static void check_databases(void) {
    struct passwd user, *found_user;
    struct protoent protocol, *found;
    char buffer[1024];
    setpwent();
    if (getpwent_r(&user, buffer, sizeof(buffer), &found_user) == 0) { // an image has no users
        CHECK(found_user == &user && !strcmp(user.pw_name, "root") && user.pw_uid == 0);
        setpwent();
        CHECK(getpwent_r(&user, buffer, 3, &found_user) == ERANGE && !found_user);
    }
    endpwent();
    getprotobyname_r("tcp", &protocol, buffer, sizeof(buffer), &found);
    if (found) // a host may have no table
        CHECK(found == &protocol && protocol.p_proto == 6);
}

static void check_format(const char *format, size_t count, ...) {
    int types[8], expected;
    va_list list;
    CHECK(parse_printf_format(format, 8, types) == count);
    va_start(list, count);
    for (size_t i = 0; i < count; i++) {
        expected = va_arg(list, int);
        CHECK(types[i] == expected);
    }
    va_end(list);
}

static void check_formats(void) {
    check_format("nothing, 100 %%", 0);
    check_format("%d %5.3u %-*s %.*f", 6, PA_INT, PA_INT, PA_INT, PA_STRING, PA_INT, PA_DOUBLE);
    check_format("%hhd%hd%ld%lld%zu", 5, PA_CHAR, PA_INT | PA_FLAG_SHORT, PA_INT | PA_FLAG_LONG,
                 PA_INT | PA_FLAG_LONG, PA_INT | PA_FLAG_LONG);
    check_format("%c%C%S%p%Lg%n", 6, PA_CHAR, PA_WCHAR, PA_WSTRING, PA_POINTER,
                 PA_DOUBLE | PA_FLAG_LONG_DOUBLE, PA_INT | PA_FLAG_PTR);
    check_format("%2$s of %1$d", 2, PA_INT, PA_STRING);
    check_format("cut off %", 0);
    CHECK(parse_printf_format("%d%d%d", 0, NULL) == 3);
    CHECK(!strcmp(strerrordesc_np(ENOENT), "No such file or directory"));
    CHECK(!strcmp(strerrordesc_np(0), "Success") && !strerrordesc_np(9999));
}

#define MASK(signal) (1 << ((signal) - 1))
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void check_masks(void) {
    CHECK(sigsetmask(MASK(SIGUSR1)) == 0 && siggetmask() == MASK(SIGUSR1));
    CHECK(sigblock(MASK(SIGUSR2)) == MASK(SIGUSR1) && raise(SIGUSR2) == 0);
    sigset_t pending;
    CHECK(!sigpending(&pending) && sigismember(&pending, SIGUSR2));
    signal(SIGUSR2, SIG_IGN);
    CHECK(sigsetmask(0) == (MASK(SIGUSR1) | MASK(SIGUSR2)));
}

__attribute__((noinline)) static void check_backtrace(void) {
    void *frames[16];
    int count = backtrace(frames, 16);
    CHECK(count >= 2);
    char **names = backtrace_symbols(frames, count);
    CHECK(names && strstr(names[0], "glibc"));
    free(names);
}

int main(void) {
    struct stat status;
    check_texts();
    check_contexts();
    check_mutex();
    check_obstack();
    check_databases();
    check_formats();
    check_masks();
    check_backtrace();
    CHECK(!stat("/", &status) && S_ISDIR(status.st_mode));
    error(0, ENOENT, "an error about %s", "nothing");
    CHECK(error_message_count == 1);
    puts("ok");
    return 0;
}
