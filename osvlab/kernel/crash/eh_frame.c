// From an address to the rules that unwind its function.
//
//     .eh_frame_hdr  a table of (first address, FDE), sorted, to be searched by halves
//     FDE            "frame description entry": one function; names its CIE
//     CIE            "common information entry": what many functions share
// Both hold a little program that says how the rules change from instruction to instruction; it
// is run up to the address in question (DWARF 5 section 6.4.2).

#include "dwarf.h"

#include "arch.h"

#define LARGEST_ENTRY (1UL << 20)
#define REMEMBERED 4

struct common { // what a CIE says
    u64 program, end;
    u64 code_alignment;
    i64 data_alignment;
    u8 pointer_encoding;
    bool has_augmentation_size, signal;
};

struct function { // what an FDE says
    struct common common;
    u64 start, size;
    u64 program, end;
};

// Enters the entry at `at`: its length is read and bounds `r`. `id` is the word after it.
static bool open_entry(u64 at, struct reader *r, u64 *id_at, u32 *id) {
    *r = (struct reader){at, at + 8, false};
    u64 length = read_number(r, 4);

    if (r->bad || length < 4 || length > LARGEST_ENTRY) // 0 ends the section, ~0 is the 64-bit form
        return false;
    r->end = r->at + length;
    *id_at = r->at;
    *id = (u32)read_number(r, 4);
    return !r->bad;
}

static void read_augmentation(struct reader *r, u64 text, struct common *c) {
    struct reader letters = {text, r->end, false};
    u64 end = 0;

    for (;;) {
        switch (read_number(&letters, 1)) {
        case 0:
            r->at = end ? end : r->at;
            r->bad |= letters.bad;
            return;
        case 'z':
            c->has_augmentation_size = true;
            end = read_uleb(r);
            end += r->at;
            r->bad |= end < r->at || end > r->end;
            break;
        case 'R':
            c->pointer_encoding = (u8)read_number(r, 1);
            break;
        case 'L': // where the function's exception table is: not for us
            read_number(r, 1);
            break;
        case 'P': // the language's own routine for exceptions: not for us
            read_pointer(r, (u8)read_number(r, 1) & ~0x80, 0);
            break;
        case 'S':
            c->signal = true;
            break;
        default:
            r->bad = true;
        }
        if (r->bad || letters.bad) {
            r->bad = true;
            return;
        }
    }
}

static bool read_common(u64 at, struct common *c) {
    struct reader r;
    u64 id_at;
    u32 id;

    *c = (struct common){0};
    if (!open_entry(at, &r, &id_at, &id) || id != 0)
        return false;
    u64 version = read_number(&r, 1);
    u64 augmentation = r.at;
    while (read_number(&r, 1)) // ends at the NUL, and at a bad read, which gives 0
        ;
    c->code_alignment = read_uleb(&r);
    c->data_alignment = read_sleb(&r);
    u64 return_register = version == 1 ? read_number(&r, 1) : read_uleb(&r);
    if (r.bad || (version != 1 && version != 3) || return_register != DWARF_RIP)
        return false;
    read_augmentation(&r, augmentation, c);
    c->program = r.at;
    c->end = r.end;
    return !r.bad;
}

static bool read_function(u64 at, struct function *f) {
    struct reader r;
    u64 id_at;
    u32 distance;

    if (!open_entry(at, &r, &id_at, &distance) || distance == 0 ||
        !read_common(id_at - distance, &f->common))
        return false;
    f->start = read_pointer(&r, f->common.pointer_encoding, 0);
    f->size = read_pointer(&r, f->common.pointer_encoding & 0x0f, 0);
    if (f->common.has_augmentation_size) {
        u64 skip = read_uleb(&r);
        r.bad |= skip > r.end - r.at;
        r.at += skip;
    }
    f->program = r.at;
    f->end = r.end;
    return !r.bad;
}

#define TABLE_ENCODING 0x3b // 32-bit offsets from the header: what every linker writes

static bool find_function(u64 header, u64 address, struct function *f) {
    struct reader r = {header, header + 64, false};
    u64 version = read_number(&r, 1);
    u8 frame_encoding = (u8)read_number(&r, 1), count_encoding = (u8)read_number(&r, 1);
    u64 table_encoding = read_number(&r, 1);

    read_pointer(&r, frame_encoding, header);
    u64 low = 0, high = read_pointer(&r, count_encoding, header);
    if (r.bad || version != 1 || table_encoding != TABLE_ENCODING || high > UINT32_MAX)
        return false;
    u64 table = r.at;
    struct reader entry;
    while (low < high) { // the last entry that does not start after `address` is below `high`
        u64 middle = (low + high) / 2;
        entry = (struct reader){table + middle * 8, table + middle * 8 + 8, false};
        u64 start = header + (u64)read_signed(&entry, 4);
        if (entry.bad)
            return false;
        if (start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    entry = (struct reader){table + (low - 1) * 8 + 4, table + low * 8, false};
    u64 at = header + (u64)read_signed(&entry, 4);
    return !entry.bad && read_function(at, f) && address - f->start < f->size;
}

struct machine {
    const struct common *common;
    struct frame_rules rules, initial; // initial: after the CIE's program
    struct frame_rules remembered[REMEMBERED];
    unsigned depth;
    u64 location;
    struct reader code;
};

static void set_rule(struct machine *m, u64 number, int kind, i64 value) {
    if (number < DWARF_REGISTERS) // vector registers may be named; nobody needs them here
        m->rules.registers[number] = (struct rule){.kind = kind, .value = value};
}

static void set_expression(struct machine *m, u64 number, int kind) {
    set_rule(m, number, kind, (i64)m->code.at);
    u64 size = read_uleb(&m->code);
    m->code.bad |= size > m->code.end - m->code.at;
    m->code.at += size;
}

static void set_cfa(struct machine *m, u64 number, i64 offset) {
    m->code.bad |= number >= DWARF_REGISTERS;
    m->rules.cfa = (struct rule){.kind = RULE_REGISTER, .value = (i64)number};
    m->rules.cfa_offset = offset;
}

static void restore_rule(struct machine *m, u64 number) {
    if (number < DWARF_REGISTERS)
        m->rules.registers[number] = m->initial.registers[number];
}

static void remember(struct machine *m) {
    if (m->depth == REMEMBERED)
        m->code.bad = true;
    else
        m->remembered[m->depth++] = m->rules;
}

static void recall(struct machine *m) {
    if (m->depth == 0)
        m->code.bad = true;
    else
        m->rules = m->remembered[--m->depth];
}

static void advance(struct machine *m, u64 delta) {
    m->location += delta * m->common->code_alignment;
}

// clang-format off: the instructions are a table, one line each.

// One instruction of the program; its operands follow in m->code.
static void execute(struct machine *m, u8 op) {
    struct reader *r = &m->code;
    i64 align = m->common->data_alignment;
    u64 n;

    switch (op) {
    case 0x40 ... 0x7f: advance(m, op & 0x3f); break;
    case 0x80 ... 0xbf: set_rule(m, op & 0x3f, RULE_AT, (i64)(read_uleb(r) * (u64)align)); break;
    case 0xc0 ... 0xff: restore_rule(m, op & 0x3f); break;
    case 0x00: break;                                                            // nop
    case 0x01: m->location = read_pointer(r, m->common->pointer_encoding, 0); break; // set_loc
    case 0x02: advance(m, read_number(r, 1)); break;
    case 0x03: advance(m, read_number(r, 2)); break;
    case 0x04: advance(m, read_number(r, 4)); break;
    case 0x05: n = read_uleb(r); set_rule(m, n, RULE_AT, (i64)(read_uleb(r) * (u64)align)); break;
    case 0x06: restore_rule(m, read_uleb(r)); break;
    case 0x07: set_rule(m, read_uleb(r), RULE_UNDEFINED, 0); break;
    case 0x08: set_rule(m, read_uleb(r), RULE_SAME, 0); break;
    case 0x09: n = read_uleb(r); set_rule(m, n, RULE_REGISTER, (i64)read_uleb(r)); break;
    case 0x0a: remember(m); break;
    case 0x0b: recall(m); break;
    case 0x0c: n = read_uleb(r); set_cfa(m, n, (i64)read_uleb(r)); break;         // def_cfa
    case 0x0d: set_cfa(m, read_uleb(r), m->rules.cfa_offset); break;              // ..._register
    case 0x0e: m->rules.cfa_offset = (i64)read_uleb(r); break;                    // ..._offset
    case 0x0f: // def_cfa_expression
        m->rules.cfa = (struct rule){.kind = RULE_IS_EXPRESSION, .value = (i64)r->at};
        set_expression(m, DWARF_REGISTERS, RULE_SAME);
        break;
    case 0x10: set_expression(m, read_uleb(r), RULE_AT_EXPRESSION); break;
    case 0x11: n = read_uleb(r); set_rule(m, n, RULE_AT, (i64)((u64)read_sleb(r) * (u64)align)); break;
    case 0x12: n = read_uleb(r); set_cfa(m, n, (i64)((u64)read_sleb(r) * (u64)align)); break;
    case 0x13: m->rules.cfa_offset = (i64)((u64)read_sleb(r) * (u64)align); break;
    case 0x14: n = read_uleb(r); set_rule(m, n, RULE_IS, (i64)(read_uleb(r) * (u64)align)); break;
    case 0x15: n = read_uleb(r); set_rule(m, n, RULE_IS, (i64)((u64)read_sleb(r) * (u64)align)); break;
    case 0x16: set_expression(m, read_uleb(r), RULE_IS_EXPRESSION); break;
    case 0x2e: read_uleb(r); break; // GNU_args_size
    default: r->bad = true;
    }
}

// clang-format on

// Runs a program until it would pass `address`.
static bool run(struct machine *m, u64 start, u64 end, u64 address) {
    m->code = (struct reader){start, end, false};
    while (m->code.at < end && !m->code.bad && m->location <= address)
        execute(m, (u8)read_number(&m->code, 1));
    return !m->code.bad;
}

bool frame_rules_find(u64 header, u64 address, struct frame_rules *out) {
    struct function f;
    struct machine m;

    if (!header || !find_function(header, address, &f))
        return false;
    m = (struct machine){.common = &f.common, .location = f.start};
    m.rules.registers[DWARF_RIP].kind = RULE_UNDEFINED;
    if (!run(&m, f.common.program, f.common.end, UINT64_MAX))
        return false;
    m.initial = m.rules;
    m.location = f.start;
    if (!run(&m, f.program, f.end, address))
        return false;
    *out = m.rules;
    out->signal = f.common.signal;
    return true;
}
