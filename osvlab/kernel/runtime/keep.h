// Memory for the launcher's few words: never given back, because they are needed to the end.
//
// The launcher does without malloc and stdio as long as nothing goes wrong. They would work, but
// an emulated processor pays for each instruction that runs for the first time, and the
// application runs its own copy of libc anyway.
#pragma once

#include <stddef.h>

void *keep(size_t size); // zeroes; NULL when there is no memory
