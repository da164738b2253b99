// Page faults: serving them and saying what was wrong.
#pragma once

#include "arch.h"

// Brings the page in if an area allows the access. Otherwise false, with the signal to send.
bool fault_serve(u64 address, u64 error_code, bool may_sleep, int *signal, int *code);

// "read of unmapped address 0x10 in thread main"
void fault_describe(const struct registers *r, char *out, size_t size);
