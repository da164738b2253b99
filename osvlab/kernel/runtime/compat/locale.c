// Locales that are shaped as glibc's: libstdc++ reads the character tables straight out of them
// (std::ctype<char>), so they must lie where glibc's struct __locale_struct has them.
//
// Invariant: a locale given to a program begins with musl's own, which is shorter than glibc's
// list of categories; so musl's functions take it, and freelocale frees it.

#include "compat.h"

#include <ctype.h>
#include <locale.h>
#include <string.h>

#define GLIBC_CATEGORIES 13
#define MUSL_LOCALE_SIZE (6 * sizeof(void *)) // one pointer for each of musl's categories

struct glibc_locale { // <bits/types/__locale_t.h>
    const void *categories[GLIBC_CATEGORIES];
    const unsigned short *character_classes;
    const int *to_lower, *to_upper;
    const char *names[GLIBC_CATEGORIES];
};
_Static_assert(MUSL_LOCALE_SIZE <= sizeof(((struct glibc_locale *)0)->categories), "musl's fits");

extern const unsigned short **__ctype_b_loc(void);
extern const int **__ctype_tolower_loc(void), **__ctype_toupper_loc(void);
extern void *__libc_malloc(size_t size);

locale_t musl_newlocale(int mask, const char *name, locale_t base);
locale_t musl_duplocale(locale_t from);

static locale_t reshape(locale_t musl) {
    struct glibc_locale *locale = musl ? __libc_malloc(sizeof(*locale)) : NULL;

    if (!locale)
        return NULL;
    memset(locale, 0, sizeof(*locale));
    memcpy(locale, musl, MUSL_LOCALE_SIZE);
    locale->character_classes = *__ctype_b_loc();
    locale->to_lower = *__ctype_tolower_loc();
    locale->to_upper = *__ctype_toupper_loc();
    for (int i = 0; i < GLIBC_CATEGORIES; i++)
        locale->names[i] = "C";
    freelocale(musl); // does nothing to those that are not allocated
    return (locale_t)locale;
}

EXPORT locale_t newlocale(int mask, const char *name, locale_t base) {
    // glibc's categories are musl's in number and order, but it has more of them.
    locale_t made = musl_newlocale(mask & LC_ALL_MASK, name, base);
    return made == base ? made : reshape(made);
}

EXPORT locale_t duplocale(locale_t from) {
    return reshape(musl_duplocale(from));
}

EXPORT locale_t __newlocale(int mask, const char *name, locale_t base)
    __attribute__((alias("newlocale")));
EXPORT locale_t __duplocale(locale_t from) __attribute__((alias("duplocale")));
