// Where glibc and musl differ, and names that only glibc has.
#include "check.h"
#include <ctype.h>
#include <errno.h>
#include <error.h>
#include <execinfo.h>
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
    obstack_free(&stack, NULL);
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
    check_backtrace();
    CHECK(!stat("/", &status) && S_ISDIR(status.st_mode));
    error(0, ENOENT, "an error about %s", "nothing");
    CHECK(error_message_count == 1);
    puts("ok");
    return 0;
}
