// The two small languages inside call frame information: encoded numbers, and expressions for
// a stack machine (DWARF 5 sections 7.6 and 2.5; LSB Core 5.0 section 10.5 for pointers).

#include "dwarf.h"

#include "arch.h"

u64 read_number(struct reader *r, size_t size) {
    u64 value = 0;

    if (r->bad || size > 8 || r->at > r->end || size > r->end - r->at ||
        !safe_read(&value, r->at, size)) {
        r->bad = true;
        return 0;
    }
    r->at += size;
    return value;
}

i64 read_signed(struct reader *r, size_t size) {
    unsigned unused = 64 - 8 * (unsigned)size;

    return (i64)(read_number(r, size) << unused) >> unused;
}

static u64 read_leb(struct reader *r, bool is_signed) {
    u64 value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        u8 byte = (u8)read_number(r, 1);
        value |= (u64)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            if (is_signed && (byte & 0x40) && shift + 7 < 64)
                value |= UINT64_MAX << (shift + 7);
            return r->bad ? 0 : value;
        }
    }
    r->bad = true;
    return 0;
}

u64 read_uleb(struct reader *r) {
    return read_leb(r, false);
}

i64 read_sleb(struct reader *r) {
    return (i64)read_leb(r, true);
}

enum {
    POINTER_OMITTED = 0xff,
    POINTER_INDIRECT = 0x80,
    POINTER_FROM_HERE = 0x10,
    POINTER_FROM_DATA = 0x30
};

static u64 read_pointer_value(struct reader *r, u8 format) {
    switch (format) {
    case 0x0:
    case 0x4:
    case 0xc:
        return read_number(r, 8);
    case 0x1:
        return read_uleb(r);
    case 0x2:
        return read_number(r, 2);
    case 0x3:
        return read_number(r, 4);
    case 0x9:
        return (u64)read_sleb(r);
    case 0xa:
        return (u64)read_signed(r, 2);
    case 0xb:
        return (u64)read_signed(r, 4);
    default:
        r->bad = true;
        return 0;
    }
}

u64 read_pointer(struct reader *r, u8 encoding, u64 data_base) {
    u64 here = r->at;

    if (encoding == POINTER_OMITTED)
        return 0;
    u64 value = read_pointer_value(r, encoding & 0x0f);
    switch (encoding & 0x70) {
    case 0:
        break;
    case POINTER_FROM_HERE:
        value += here;
        break;
    case POINTER_FROM_DATA:
        value += data_base;
        break;
    default:
        r->bad = true;
    }
    if ((encoding & POINTER_INDIRECT) && !safe_read(&value, value, sizeof(value)))
        r->bad = true;
    return r->bad ? 0 : value;
}

#define STACK_DEPTH 16
#define LARGEST_EXPRESSION 4096
#define MOST_STEPS 512

struct evaluation {
    struct reader code;
    u64 start;
    const u64 *registers;
    u64 stack[STACK_DEPTH];
    unsigned depth;
};

static void push(struct evaluation *e, u64 value) {
    if (e->depth == STACK_DEPTH)
        e->code.bad = true;
    else
        e->stack[e->depth++] = value;
}

static u64 pop(struct evaluation *e) {
    if (e->depth == 0) {
        e->code.bad = true;
        return 0;
    }
    return e->stack[--e->depth];
}

static u64 peek(struct evaluation *e, unsigned below) {
    if (below >= e->depth) {
        e->code.bad = true;
        return 0;
    }
    return e->stack[e->depth - 1 - below];
}

static void push_memory(struct evaluation *e, u64 size) {
    u64 value = 0;

    if (size > 8 || !safe_read(&value, pop(e), size))
        e->code.bad = true;
    push(e, value);
}

static void push_register(struct evaluation *e, u64 number) {
    i64 offset = read_sleb(&e->code);

    if (number >= DWARF_REGISTERS)
        e->code.bad = true;
    else
        push(e, e->registers[number] + (u64)offset);
}

static void jump(struct evaluation *e, bool taken) {
    i64 distance = read_signed(&e->code, 2);
    u64 to = e->code.at + (u64)distance;

    if (!taken)
        return;
    if (to < e->start || to > e->code.end)
        e->code.bad = true;
    else
        e->code.at = to;
}

static void swap(struct evaluation *e) {
    u64 a = pop(e), b = pop(e);

    push(e, a);
    push(e, b);
}

// clang-format off: the operations are tables, one line each.

// Operations on the two topmost values; false if `op` is none of them.
static bool binary(struct evaluation *e, u8 op) {
    u64 b = peek(e, 0), a = peek(e, 1), value;

    switch (op) {
    case 0x1a: value = a & b; break;
    case 0x1c: value = a - b; break;
    case 0x1e: value = a * b; break;
    case 0x21: value = a | b; break;
    case 0x22: value = a + b; break;
    case 0x24: value = b < 64 ? a << b : 0; break;
    case 0x25: value = b < 64 ? a >> b : 0; break;
    case 0x26: value = (u64)((i64)a >> (b < 64 ? b : 63)); break;
    case 0x27: value = a ^ b; break;
    case 0x29: value = a == b; break;
    case 0x2a: value = (i64)a >= (i64)b; break;
    case 0x2b: value = (i64)a > (i64)b; break;
    case 0x2c: value = (i64)a <= (i64)b; break;
    case 0x2d: value = (i64)a < (i64)b; break;
    case 0x2e: value = a != b; break;
    default: return false;
    }
    pop(e);
    pop(e);
    push(e, value);
    return true;
}

static void operate(struct evaluation *e, u8 op) {
    struct reader *code = &e->code;

    switch (op) {
    case 0x03: push(e, read_number(code, 8)); break; // addr
    case 0x06: push_memory(e, 8); break;             // deref
    case 0x08 ... 0x0f: {                            // const1u, const1s, const2u... const8s
        size_t size = 1UL << ((op - 0x08) / 2);
        push(e, op & 1 ? (u64)read_signed(code, size) : read_number(code, size));
        break;
    }
    case 0x10: push(e, read_uleb(code)); break;          // constu
    case 0x11: push(e, (u64)read_sleb(code)); break;     // consts
    case 0x12: push(e, peek(e, 0)); break;               // dup
    case 0x13: pop(e); break;                            // drop
    case 0x14: push(e, peek(e, 1)); break;               // over
    case 0x16: swap(e); break;                           // swap
    case 0x1f: push(e, -pop(e)); break;                  // neg
    case 0x20: push(e, ~pop(e)); break;                  // not
    case 0x23: push(e, pop(e) + read_uleb(code)); break; // plus_uconst
    case 0x28: jump(e, pop(e) != 0); break;              // bra
    case 0x2f: jump(e, true); break;                     // skip
    case 0x30 ... 0x4f: push(e, op - 0x30); break;       // lit0... lit31
    case 0x70 ... 0x8f: push_register(e, op - 0x70); break;     // breg0...
    case 0x92: push_register(e, read_uleb(code)); break;        // bregx
    case 0x94: push_memory(e, read_number(code, 1)); break;     // deref_size
    case 0x96: break;                                           // nop
    default:
        if (!binary(e, op))
            code->bad = true;
    }
}

// clang-format on

bool dwarf_evaluate(u64 address, const u64 *registers, const u64 *initial, u64 *result) {
    struct evaluation e = {.code = {address, address + 16, false}, .registers = registers};
    u64 size = read_uleb(&e.code);

    if (e.code.bad || size > LARGEST_EXPRESSION)
        return false;
    e.start = e.code.at;
    e.code.end = e.start + size;
    if (initial)
        push(&e, *initial);
    for (int steps = 0; e.code.at < e.code.end; steps++) {
        if (e.code.bad || steps == MOST_STEPS)
            return false;
        operate(&e, (u8)read_number(&e.code, 1));
    }
    *result = pop(&e);
    return !e.code.bad;
}
