// Inputs as lists of steps: where damage is, and what is done then. Steps have one size, so that one
// can change, come, go or move without a new meaning for all that follow it (steps.c).
#pragma once

#include <stdint.h>

struct step {
    uint8_t what, how;
    uint16_t block, at, other;
    uint64_t value;
};
_Static_assert(sizeof(struct step) == 16, "steps are read as they lie in the input");

enum { STEPS_MAX = 48 };
