// The table of functions (symbols.c) that the first link gets: it is empty. Not in C, because the
// compiler, which sees the core as a whole, would believe what is in it.

    .section .kernel_symbols, "a"
    .weak kernel_symbols
    .hidden kernel_symbols
kernel_symbols:
    .byte 0, 0
    .section .note.GNU-stack, "", @progbits
