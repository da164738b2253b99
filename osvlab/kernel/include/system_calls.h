// The table of system calls (syscalls/table.c).
#pragma once

#include "base.h"

typedef long system_call(u64, u64, u64, u64, u64, u64);

#define SYSTEM_CALLS 512
extern system_call *const system_calls[SYSTEM_CALLS];
