// Finding a return address without any tables: by what a call leaves behind.
#pragma once

#include "base.h"

// Is there a call instruction just before `address`, in known code? If the instruction tells
// where it goes, *target is that, else 0.
bool call_site(u64 address, u64 *target);

// Is this the code that signal handlers return to?
bool is_trampoline(u64 address);

// Searches the stack upwards from `stack` for the return address of a function that starts
// somewhere from `first` to `last`. Gives the place where it lies, or 0.
u64 guess_return(u64 stack, u64 first, u64 last, u64 *address);

// A likely frame pointer of the caller, saved by a callee between `from` and `to`, or 0.
u64 guess_frame_pointer(u64 from, u64 to);
