// The end of a run that did not go as planned, and the ways to look at a stack.
//
// Invariant: nothing here locks, allocates or sleeps, and every look at memory goes through
// safe_read, because a crash may be found in any state whatever. A crash always powers off.
#pragma once

#include "arch.h"
#include "runtime.h"

// Reports the fault `what` ("read of unmapped address 0x10 in thread main") with the registers
// and a backtrace on the console and to the host, and powers off.
_Noreturn void crash(const struct registers *r, const char *what);

#define BACKTRACE_FRAMES 48

enum frame_kind {
    FRAME_EXACT, // the address is that of the instruction itself: where the fault or interrupt was
    FRAME_CALL,  // a return address, found by call frame information or a frame pointer
    FRAME_GUESSED, // something on the stack that looks like the return address
};

struct frame {
    u64 address;
    enum frame_kind kind;
    u32 repeated; // so many more frames like this one: the function called itself
};

// Adds the frames of the stack that `r` was running on to `frames`, innermost first, and
// keeps *count current all the time, so that a fault on the way leaves a usable part.
void unwind_stack(const struct registers *r, struct frame *frames, size_t size,
                  volatile size_t *count);

// Whose code is this, in the kernel or the application? False if nobody's. For an address of
// FRAME_CALL kind give address - 1, since a call may be the last instruction of its function.
bool symbolize(u64 address, struct symbol *out);

// Applications run libc in private instances of the kernel's image. The address that belongs
// to `address` in the image itself, or 0 if it is neither there nor in an instance. `s` is what
// symbolize said about it.
u64 kernel_address(u64 address, const struct symbol *s);

// The kernel's own functions (crash/symbols.c).
bool kernel_symbol(u64 address, const char **name, u64 *offset);
