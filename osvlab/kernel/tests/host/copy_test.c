// memcpy, memset and user_copy for all small sizes and alignments, next to bytes that must stay.
// Compiled with memcpy and memset renamed, so that these here are the kernel's.

#include <string.h>

#include "base.h"
#include "check.h"

int user_copy(void *to, const void *from, size_t size);

enum { SIZES = 300, EDGE = 16 };
static u8 from[SIZES + 2 * EDGE], to[SIZES + 2 * EDGE];

static void prepare(void) {
    for (size_t i = 0; i < sizeof(from); i++) {
        from[i] = (u8)(i * 7 + 1);
        to[i] = 0xee;
    }
}

// `to` holds what `expected` says from `at` on, and is untouched around it.
static void compare(size_t at, size_t size, const u8 *expected, bool same) {
    for (size_t i = 0; i < sizeof(to); i++) {
        bool inside = i >= at && i < at + size;
        CHECK(to[i], inside ? expected[same ? 0 : i - at] : 0xee);
    }
}

int main(void) {
    const u8 byte = 0xa5;

    for (size_t size = 0; size <= SIZES; size++)
        for (size_t shift = 0; shift < 9; shift++) {
            prepare();
            CHECK(memcpy(to + EDGE, from + shift, size) == to + EDGE, true);
            compare(EDGE, size, from + shift, false);
            prepare();
            CHECK(user_copy(to + shift, from + EDGE, size), 0);
            compare(shift, size, from + EDGE, false);
            prepare();
            CHECK(memset(to + shift, 0x100 | byte, size) == to + shift, true);
            compare(shift, size, &byte, true);
        }
    puts("ok");
    return 0;
}
