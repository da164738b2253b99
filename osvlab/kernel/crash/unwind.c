// Walking up a stack, through the application's code, musl's and the kernel's.
//
// Each step takes the registers of one function to those of its caller, by the best means at hand:
//   entry frames   the kernel's entry stubs and signal trampolines keep all registers on
//                  the stack: what was interrupted goes on from there
//   tables         call frame information, exact at every instruction (eh_frame.c)
//   frame pointer  for the core's own code, which always has one
//   a guess        for the rest, which is musl and hand-written assembler (guess.c)
//
// Invariant: there are at most MOST_STEPS of them, so a damaged stack cannot make this loop.

#include <elf.h>
#include <string.h>
#include <sys/ucontext.h>

#include "crash.h"
#include "dwarf.h"
#include "guess.h"

#define MOST_STEPS 20000 // a stack of 8 MiB full of one small function is shown as a whole
#define LARGEST_FUNCTION 16384

struct cursor {
    u64 registers[DWARF_REGISTERS];
    enum frame_kind kind;
    bool frame_pointer_lost; // by a guessed step, which cannot know what the callee saved
};

extern const char kernel_start_address[];

static void cursor_set(struct cursor *c, const struct registers *r) {
    const u64 values[DWARF_REGISTERS] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi,
                                         r->rbp, r->rsp, r->r8,  r->r9,  r->r10, r->r11,
                                         r->r12, r->r13, r->r14, r->r15, r->rip};

    memcpy(c->registers, values, sizeof(values));
    c->kind = FRAME_EXACT;
    c->frame_pointer_lost = false;
}

// The kernel is an ELF file in memory; its program headers say where its own tables are.
static u64 kernel_frame_header(void) {
    u64 base = (u64)kernel_start_address;
    Elf64_Ehdr file;
    Elf64_Phdr header;

    if (!safe_read(&file, base, sizeof(file)))
        return 0;
    for (unsigned i = 0; i < file.e_phnum; i++) {
        if (safe_read(&header, base + file.e_phoff + i * sizeof(header), sizeof(header)) &&
            header.p_type == PT_GNU_EH_FRAME)
            return header.p_vaddr;
    }
    return 0;
}

static bool name_is(const struct symbol *s, const char *name) {
    return s->name && !strcmp(s->name, name);
}

// An entry stub called C with a `struct registers` on top of its stack.
static bool step_entry(struct cursor *c, const struct symbol *here) {
    struct registers saved;
    bool entry = name_is(here, "exception_common") || name_is(here, "interrupt_common") ||
                 name_is(here, "syscall_entry");

    if (!entry || c->kind == FRAME_EXACT || !in_kernel_image(c->registers[DWARF_RIP]) ||
        !safe_read(&saved, c->registers[DWARF_RSP], offsetof(struct registers, cr2)))
        return false;
    cursor_set(c, &saved);
    return true;
}

// A signal trampoline finds a ucontext on top of the stack.
static bool step_signal(struct cursor *c) {
    u64 place = c->registers[DWARF_RSP] + offsetof(ucontext_t, uc_mcontext);
    gregset_t g;

    if (!is_trampoline(c->registers[DWARF_RIP]) || !safe_read(&g, place, sizeof(g)))
        return false;
    const struct registers saved = {
        .rax = g[REG_RAX],
        .rbx = g[REG_RBX],
        .rcx = g[REG_RCX],
        .rdx = g[REG_RDX],
        .rsi = g[REG_RSI],
        .rdi = g[REG_RDI],
        .rbp = g[REG_RBP],
        .rsp = g[REG_RSP],
        .r8 = g[REG_R8],
        .r9 = g[REG_R9],
        .r10 = g[REG_R10],
        .r11 = g[REG_R11],
        .r12 = g[REG_R12],
        .r13 = g[REG_R13],
        .r14 = g[REG_R14],
        .r15 = g[REG_R15],
        .rip = g[REG_RIP],
    };
    cursor_set(c, &saved);
    return true;
}

static bool find_cfa(const struct cursor *c, const struct frame_rules *rules, u64 *cfa) {
    if (rules->cfa.kind == RULE_IS_EXPRESSION)
        return dwarf_evaluate((u64)rules->cfa.value, c->registers, NULL, cfa);
    if (rules->cfa.kind != RULE_REGISTER)
        return false;
    *cfa = c->registers[rules->cfa.value] + (u64)rules->cfa_offset;
    return true;
}

static bool apply_rule(const struct cursor *c, const struct rule *rule, u64 cfa, unsigned number,
                       u64 *out) {
    u64 address;

    switch (rule->kind) {
    case RULE_SAME:
        *out = c->registers[number];
        return true;
    case RULE_UNDEFINED:
        *out = 0;
        return true;
    case RULE_IS:
        *out = cfa + (u64)rule->value;
        return true;
    case RULE_AT:
        return safe_read(out, cfa + (u64)rule->value, sizeof(*out));
    case RULE_REGISTER:
        if ((u64)rule->value >= DWARF_REGISTERS)
            return false;
        *out = c->registers[rule->value];
        return true;
    case RULE_IS_EXPRESSION:
        return dwarf_evaluate((u64)rule->value, c->registers, &cfa, out);
    case RULE_AT_EXPRESSION:
        return dwarf_evaluate((u64)rule->value, c->registers, &cfa, &address) &&
               safe_read(out, address, sizeof(*out));
    }
    return false;
}

enum step { STEP_DONE, STEP_IMPOSSIBLE, STEP_OUTERMOST };

static enum step step_tables(struct cursor *c, u64 lookup, u64 header) {
    struct frame_rules rules;
    struct cursor caller = *c;
    u64 cfa, target;

    if (!frame_rules_find(header, lookup, &rules) || !find_cfa(c, &rules, &cfa))
        return STEP_IMPOSSIBLE;
    if (rules.registers[DWARF_RIP].kind == RULE_UNDEFINED)
        return STEP_OUTERMOST;
    for (unsigned i = 0; i < DWARF_REGISTERS; i++) {
        if (!apply_rule(c, &rules.registers[i], cfa, i, &caller.registers[i]))
            return STEP_IMPOSSIBLE;
    }
    if (rules.registers[DWARF_RSP].kind == RULE_SAME)
        caller.registers[DWARF_RSP] = cfa;
    bool moved_up = caller.registers[DWARF_RSP] > c->registers[DWARF_RSP];
    if (!rules.signal && !moved_up)
        return STEP_IMPOSSIBLE;
    // After a guess the frame pointer may be wrong, and with it all this.
    if (c->frame_pointer_lost && !call_site(caller.registers[DWARF_RIP], &target))
        return STEP_IMPOSSIBLE;
    caller.frame_pointer_lost = false;
    caller.kind = rules.signal ? FRAME_EXACT : FRAME_CALL;
    *c = caller;
    return STEP_DONE;
}

static bool step_frame_pointer(struct cursor *c) {
    u64 saved[2], target; // the caller's frame pointer, the return address
    u64 frame = c->registers[DWARF_RBP];

    if (frame < c->registers[DWARF_RSP] || !safe_read(saved, frame, sizeof(saved)) ||
        !call_site(saved[1], &target))
        return false;
    c->registers[DWARF_RBP] = saved[0];
    c->registers[DWARF_RSP] = frame + sizeof(saved);
    c->registers[DWARF_RIP] = saved[1];
    c->kind = FRAME_CALL;
    return true;
}

static bool step_guess(struct cursor *c, u64 lookup, const struct symbol *here) {
    u64 address = 0;
    u64 stack = c->registers[DWARF_RSP];
    u64 start = lookup - here->offset;
    // In a program without symbols the function starts somewhere before.
    u64 place = here->name ? guess_return(stack, start, start, &address)
                           : guess_return(stack, lookup - LARGEST_FUNCTION, lookup, &address);

    if (!place)
        return false;
    u64 frame_pointer = guess_frame_pointer(stack, place);
    if (frame_pointer)
        c->registers[DWARF_RBP] = frame_pointer;
    c->registers[DWARF_RSP] = place + 8;
    c->registers[DWARF_RIP] = address;
    c->frame_pointer_lost = true;
    c->kind = FRAME_GUESSED;
    return true;
}

static bool step(struct cursor *c) {
    struct symbol here;
    u64 pc = c->registers[DWARF_RIP];
    u64 lookup = c->kind == FRAME_EXACT ? pc : pc - 1;

    symbolize(lookup, &here);
    if (step_signal(c) || step_entry(c, &here))
        return true;
    u64 twin = kernel_address(lookup, &here);
    switch (twin ? step_tables(c, twin, kernel_frame_header())
                 : step_tables(c, lookup, (u64)here.eh_frame_header)) {
    case STEP_DONE:
        return true;
    case STEP_OUTERMOST:
        return false;
    case STEP_IMPOSSIBLE:
        break;
    }
    if (in_core_text(lookup) && step_frame_pointer(c))
        return true;
    return step_guess(c, lookup, &here);
}

void unwind_stack(const struct registers *r, struct frame *frames, size_t size,
                  volatile size_t *count) {
    struct cursor c;

    *count = 0;
    cursor_set(&c, r);
    for (int steps = 0; steps < MOST_STEPS; steps++) {
        if (is_trampoline(c.registers[DWARF_RIP]))
            c.kind = FRAME_EXACT; // it was not called: no call stands before it
        struct frame *last = *count ? &frames[*count - 1] : NULL;
        if (last && last->address == c.registers[DWARF_RIP] && last->kind == c.kind) {
            last->repeated++;
        } else if (*count < size) {
            frames[*count] = (struct frame){c.registers[DWARF_RIP], c.kind, 0};
            (*count)++;
        } else {
            break;
        }
        if (!step(&c) || !c.registers[DWARF_RIP])
            break;
    }
}
