// Reading call frame information: the tables by which a stack can be unwound (DWARF 5 section
// 6.4, as changed for .eh_frame by the Linux Standard Base, Core 5.0 section 10.6).
//
// Nothing here trusts what it reads: memory comes through safe_read, loops are bounded, and any
// surprise means "no information", never a fault.
#pragma once

#include "base.h"

// DWARF's register numbers on x86-64 (psABI figure 3.36). The last is the return address.
enum {
    DWARF_RAX,
    DWARF_RDX,
    DWARF_RCX,
    DWARF_RBX,
    DWARF_RSI,
    DWARF_RDI,
    DWARF_RBP,
    DWARF_RSP,
    DWARF_R8,
    DWARF_R12 = 12,
    DWARF_R15 = 15,
    DWARF_RIP = 16,
    DWARF_REGISTERS,
};

// A place in memory that is being read. Once something is wrong, `bad` stays and all values are 0.
struct reader {
    u64 at, end;
    bool bad;
};
u64 read_number(struct reader *r, size_t size); // little-endian, 1 to 8 bytes
i64 read_signed(struct reader *r, size_t size);
u64 read_uleb(struct reader *r);
i64 read_sleb(struct reader *r);
u64 read_pointer(struct reader *r, u8 encoding, u64 data_base); // DW_EH_PE_*; 0 if omitted

// Where one register of the caller is to be found.
struct rule {
    enum {
        RULE_SAME,
        RULE_UNDEFINED,
        RULE_AT,
        RULE_IS,
        RULE_REGISTER,
        RULE_AT_EXPRESSION,
        RULE_IS_EXPRESSION
    } kind;
    i64 value; // offset from the CFA, register number, or address of a sized expression
};

// The rules at one address. The "canonical frame address" is the caller's stack pointer.
struct frame_rules {
    struct rule cfa; // RULE_REGISTER with cfa_offset, or RULE_IS_EXPRESSION
    i64 cfa_offset;
    struct rule registers[DWARF_REGISTERS];
    bool signal; // the frame was entered by a signal, not by a call
};

// Finds the rules for `address` by the .eh_frame_hdr at `header`.
bool frame_rules_find(u64 header, u64 address, struct frame_rules *out);

// Evaluates the expression (ULEB128 size, then operations) at `address`; if `initial` is not NULL
// its value is on the stack at the start.
bool dwarf_evaluate(u64 address, const u64 *registers, const u64 *initial, u64 *result);
