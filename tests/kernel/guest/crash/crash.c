// Crashes in the way its argument says, with a stack worth unwinding.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

static NOINLINE int compare(const void *a, const void *b) {
    (void)a, (void)b;
    return *(volatile int *)0x10;
}

static NOINLINE int sorter(void) {
    int numbers[4] = {4, 3, 2, 1};
    qsort(numbers, 4, sizeof(int), compare);
    return numbers[0];
}

static NOINLINE void handler(int number) {
    *(volatile int *)0x20 = number;
}

static NOINLINE int deep(int n) {
    volatile char buffer[1024];
    memset((void *)buffer, n, sizeof(buffer));
    return n > 0 ? deep(n + 1) + buffer[3] : 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";

    if (!strcmp(what, "callback"))
        return sorter();
    if (!strcmp(what, "handler")) {
        signal(SIGUSR1, handler);
        raise(SIGUSR1);
    }
    if (!strcmp(what, "recursion"))
        return deep(1);
    if (!strcmp(what, "libc"))
        return (int)strlen((char *)0x1234);
    return 1;
}
