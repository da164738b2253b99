// Names that programs compiled against glibc's headers want and musl does not have.
//
// Each file holds one family. A function here behaves as glibc documents it; what only glibc's
// insides need is left out. Nobody but the dynamic symbol table declares these names, hence:
#pragma once
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#include <stdbool.h>
#include <stddef.h>

#include "../musl.h"

// Is the program (or a library it uses) linked with glibc? Decides where the two differ.
bool compat_is_glibc(void);

// "*** buffer overflow detected ***" and abort.
_Noreturn void __chk_fail(void);
