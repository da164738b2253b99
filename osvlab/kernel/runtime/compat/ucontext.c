// makecontext: prepares a context to call a function on its own stack (see ucontext.S).

#include "compat.h"

#include <stdarg.h>
#include <stdint.h>
#include <ucontext.h>

HIDDEN void context_end(void);

EXPORT void makecontext(ucontext_t *context, void (*function)(void), int count, ...) {
    static const int places[] = {REG_RDI, REG_RSI, REG_RDX, REG_RCX, REG_R8, REG_R9};
    greg_t *registers = context->uc_mcontext.gregs;
    uintptr_t *stack = (uintptr_t *)((char *)context->uc_stack.ss_sp + context->uc_stack.ss_size);
    if (count > 6)
        stack -= count - 6;
    stack = (uintptr_t *)((uintptr_t)stack & ~(uintptr_t)15) - 1; // as after a call
    stack[0] = (uintptr_t)context_end;
    va_list list;
    va_start(list, count);
    for (int i = 0; i < count; i++) {
        long value = va_arg(list, long); // ints are passed in whole registers
        if (i < 6)
            registers[places[i]] = value;
        else
            stack[1 + i - 6] = (uintptr_t)value;
    }
    va_end(list);
    registers[REG_RSP] = (greg_t)stack;
    registers[REG_RIP] = (greg_t)function;
    registers[REG_RBX] = (greg_t)context->uc_link;
    registers[REG_RBP] = 0;
}
