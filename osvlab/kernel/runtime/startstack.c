// The first page of a program's life: argc, argv, envp and the auxiliary vector.
// Layout: System V ABI AMD64 supplement 3.4.1; entries: getauxval(3).

#include <cpuid.h>
#include <elf.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>

#include "process.h"

// Copies a string below *top.
static char *push_text(char **top, const char *text) {
    size_t size = strlen(text) + 1;
    *top -= size;
    return memcpy(*top, text, size);
}

static size_t texts_size(char **texts, size_t *count) {
    size_t size = 0;
    for (*count = 0; texts[*count]; ++*count)
        size += strlen(texts[*count]) + 1;
    return size;
}

static u64 hardware_capabilities(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) ? d : 0; // AT_HWCAP on x86 is CPUID 1 EDX
}

void *start_stack(char *top, char *bottom, const char *path, char **argv, char **environment) {
    size_t argc, variables;
    size_t texts = texts_size(argv, &argc) + texts_size(environment, &variables);
    if (texts + (argc + variables) * sizeof(char *) + 4096 > (size_t)(top - bottom) / 4)
        return NULL;

    top -= 16;
    char *name = push_text(&top, path), *platform = push_text(&top, "x86_64");
    char *random = top -= 16;
    if (getrandom(random, 16, GRND_NONBLOCK) != 16) {
        struct timespec now; // no generator: differ at least from boot to boot
        clock_gettime(CLOCK_REALTIME, &now);
        memcpy(random, &now, 16);
    }
    // The linker fills in the program's own values where they are 0 (auxv_set).
    u64 auxv[][2] = {
        {AT_PHDR, 0},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, 0},
        {AT_ENTRY, 0},
        {AT_BASE, 0},
        {AT_FLAGS, 0},
        {AT_PAGESZ, PAGE_SIZE},
        {AT_CLKTCK, 100},
        {AT_HWCAP, hardware_capabilities()},
        {AT_HWCAP2, 0},
        {AT_UID, 0}, // everybody is root
        {AT_EUID, 0},
        {AT_GID, 0},
        {AT_EGID, 0},
        {AT_SECURE, 0},
        {AT_RANDOM, (u64)random},
        {AT_PLATFORM, (u64)platform},
        {AT_EXECFN, (u64)name},
        {AT_MINSIGSTKSZ, 4096},
        {AT_SYSINFO_EHDR, getauxval(AT_SYSINFO_EHDR)},
        {AT_NULL, 0},
    };
    size_t kept = ARRAY_SIZE(auxv);
    if (!auxv[kept - 2][1]) { // no vDSO: not even the entry, programs believe it
        auxv[kept - 2][0] = AT_NULL;
        kept--;
    }
    char *strings = top - texts;
    size_t words = 1 + argc + 1 + variables + 1 + 2 * kept;
    u64 *stack = (u64 *)ALIGN_DOWN((u64)strings - words * sizeof(u64), 16), *out = stack;
    *out++ = argc;
    for (size_t i = 0; i < argc; i++, strings += strlen(strings) + 1)
        *out++ = (u64)strcpy(strings, argv[i]);
    *out++ = 0;
    for (size_t i = 0; i < variables; i++, strings += strlen(strings) + 1)
        *out++ = (u64)strcpy(strings, environment[i]);
    *out++ = 0;
    memcpy(out, auxv, kept * sizeof(auxv[0]));
    return stack;
}
