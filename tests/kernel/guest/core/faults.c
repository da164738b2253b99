// Things that must not work: each argument does one of them, and the machine must report it.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

static const char constant[] = "constant";
static char data[] = {(char)0xc3}; // ret

static int recurse(int depth) {
    volatile char space[1024];

    space[0] = (char)depth;
    return depth < 0 ? 0 : recurse(depth + 1) + space[0];
}

static void *recurse_thread(void *unused) {
    recurse(0);
    return unused;
}

__attribute__((noinline)) static void innermost(int *pointer) {
    *pointer = 1;
}

__attribute__((noinline)) static void middle(int *pointer) {
    innermost(pointer);
    puts("not reached");
}

static void write_to(uintptr_t address) {
    *(volatile char *)address = 1;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int (*volatile nowhere)(void) = NULL;
    pthread_t t;

    if (!strcmp(what, "null"))
        middle((int *)0x10);
    if (!strcmp(what, "jump-null"))
        nowhere();
    if (!strcmp(what, "write-text"))
        write_to((uintptr_t)main);
    if (!strcmp(what, "write-constant"))
        write_to((uintptr_t)constant);
    if (!strcmp(what, "execute-data"))
        ((void (*)(void))(uintptr_t)data)();
    if (!strcmp(what, "write-kernel-text"))
        write_to((uintptr_t)puts);
    if (!strcmp(what, "stack"))
        recurse(0);
    if (!strcmp(what, "thread-stack")) {
        pthread_create(&t, NULL, recurse_thread, NULL);
        pthread_join(t, NULL);
    }
    if (!strcmp(what, "abort"))
        abort();
    if (!strcmp(what, "opcode"))
        __asm__ volatile("ud2");
    if (!strcmp(what, "non-canonical"))
        write_to(0x8000000000000000);
    if (!strcmp(what, "kernel-stack")) // the guard page of the first kernel stack
        write_to(0x600000000000);
    if (!strcmp(what, "use-after-unmap")) {
        char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p, 4096);
        *(volatile char *)p = 1;
    }
    if (!strcmp(what, "exhaust")) {
        for (;;) {
            char *p =
                mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            CHECK(p != MAP_FAILED);
            memset(p, 1, 1 << 20);
        }
    }
    puts("survived");
    return 0;
}
