// IFUNC in the program (IRELATIVE) and in a library (by symbol); many relative relocations.
#include "check.h"
#include <string.h>

int library_choice(void);
static int one(void) {
    return 1;
}
static int (*resolve_own(void))(void) {
    return one;
}
static int own_choice(void) __attribute__((ifunc("resolve_own")));
static int (*volatile pointer)(void) = library_choice;

#define TEN(x) x, x, x, x, x, x, x, x, x, x
static const char *const names[] = {TEN("a"), TEN("b"), TEN("c"), TEN("d"),
                                    TEN("e"), TEN("f"), TEN("g"), TEN("h")};

int main(void) {
    CHECK(own_choice() == 1 && library_choice() == 42 && pointer() == 42);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        CHECK(names[i][0] == (char)('a' + i / 10));
    puts("ok");
    return 0;
}
