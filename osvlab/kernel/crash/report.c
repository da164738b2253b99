// The crash report: what happened, the registers, the way there; on the console and to the host.
//
// A crash may be found in any state, so even reporting it may fault. Then crash() is entered
// again, perhaps on top of its own stack. Invariant: all that the report needs is in static
// memory, and `stage` only grows: each entry goes on with what is left to do, and with less
// trust in what failed. So it ends, and what was said stays said.
//
// The console text follows OSv's (core/debug.cc, arch/x64/dump.cc), which people and tools know.

#include <string.h>

#include "console.h"
#include "crash.h"
#include "power.h"
#include "print.h"
#include "report.h"
#include "scheduler.h"

enum stage {
    STAGE_NONE,
    STAGE_REGISTERS, // saying what happened
    STAGE_UNWIND,    // finding the frames
    STAGE_NAMES,     // naming and printing them
    STAGE_BARE,      // printing their addresses only
    STAGE_GIVE_UP,
};

static volatile enum stage stage;
static struct registers registers;
static char fault[256];
static struct frame frames[BACKTRACE_FRAMES];
static volatile size_t frame_count, frames_printed;

static u64 lookup_address(const struct frame *f) {
    return f->kind == FRAME_EXACT ? f->address : f->address - 1;
}

static const struct {
    char name[4];
    u16 offset;
} register_names[] = {
#define REGISTER(label, field) {label, offsetof(struct registers, field)}
    REGISTER("rip", rip), REGISTER("rfl", rflags), REGISTER("cr2", cr2), REGISTER("rsp", rsp),
    REGISTER("rax", rax), REGISTER("rbx", rbx),    REGISTER("rcx", rcx), REGISTER("rdx", rdx),
    REGISTER("rsi", rsi), REGISTER("rdi", rdi),    REGISTER("rbp", rbp), REGISTER("r8", r8),
    REGISTER("r9", r9),   REGISTER("r10", r10),    REGISTER("r11", r11), REGISTER("r12", r12),
    REGISTER("r13", r13), REGISTER("r14", r14),    REGISTER("r15", r15),
};

static u64 register_value(size_t i) {
    return *(const u64 *)((const char *)&registers + register_names[i].offset);
}

static void upper_case(char *out, const char *in) {
    do {
        *out++ = *in >= 'a' && *in <= 'z' ? *in - 32 : *in;
    } while (*in++);
}

static void say_what_happened(void) {
    struct thread *t = this_thread();
    char text[512];

    kprintf("\n%s\n[registers]\n", fault);
    report_part("{\"event\":\"crashed\",\"thread\":\"%s\"",
                report_escape(text, sizeof(text), t ? thread_title(t) : "boot"));
    report_escape(text, sizeof(text), fault);
    report_part(",\"fault\":\"");
    for (const char *p = text; *p; p += strnlen(p, 200))
        report_part("%.*s", (int)strnlen(p, 200), p);
    report_part("\",\"registers\":{");
    for (size_t i = 0; i < ARRAY_SIZE(register_names); i++) {
        char name[4];
        bool last_in_line = i % 4 == 3 || i + 1 == ARRAY_SIZE(register_names);
        upper_case(name, register_names[i].name);
        kprintf("%-3s: 0x%016lx%s", name, register_value(i), last_in_line ? "\n" : "  ");
        report_part("%s\"%s\":\"0x%lx\"", i ? "," : "", register_names[i].name, register_value(i));
    }
    report_part("},\"backtrace\":[");
    kprintf("[backtrace]\n");
}

// A name from the application's files may hold anything.
static const char *printable(char *out, size_t size, const char *text) {
    size_t n = 0;

    for (; text[n] && n + 1 < size; n++)
        out[n] = (u8)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    out[n] = 0;
    return out;
}

static void say_frame(const struct frame *f, const struct symbol *s) {
    bool guessed = f->kind == FRAME_GUESSED;
    u64 offset = s->offset + (f->kind != FRAME_EXACT && s->name ? 1 : 0);
    char text[128];

    frames_printed++;
    report_part("%s{\"address\":\"0x%lx\"", frames_printed > 1 ? "," : "", f->address);
    kprintf("0x%016lx", f->address);
    if (s->name) {
        kprintf(" <%s+%lu>", printable(text, sizeof(text), s->name), offset);
        report_part(",\"symbol\":\"%s\",\"offset\":%lu", report_escape(text, sizeof(text), s->name),
                    offset);
    } else if (s->object) {
        kprintf(" <+0x%lx>", f->address - s->base);
        report_part(",\"offset\":%lu", f->address - s->base);
    } else {
        kprintf(" <?"
                "?"
                "?>");
    }
    if (s->object) {
        kprintf(" %s", printable(text, sizeof(text), s->object));
        report_part(",\"object\":\"%s\"", report_escape(text, sizeof(text), s->object));
    }
    kprintf("%s\n", guessed ? " ?" : "");
    report_part("%s", guessed ? ",\"guessed\":true" : "");
    if (f->repeated) {
        kprintf("    ... and %u more times\n", f->repeated);
        report_part(",\"repeated\":%u", f->repeated);
    }
    report_part("}");
}

static void say_frames(bool with_names) {
    while (frames_printed < frame_count) {
        const struct frame *f = &frames[frames_printed];
        struct symbol symbol = {0};
        if (with_names)
            symbolize(lookup_address(f), &symbol);
        say_frame(f, &symbol);
    }
}

_Noreturn void crash(const struct registers *r, const char *what) {
    interrupts_off();
    uart_seize();
    if (stage == STAGE_NONE) {
        registers = *r;
        format_string(fault, sizeof(fault), "%s", what);
    } else {
        kprintf("(while reporting it: %s at 0x%lx)\n", what, r->rip);
    }
    stage = MIN(stage + 1, STAGE_GIVE_UP);

    // Each stage is entered at most once, in order; a fault in one comes back to the next.
    if (stage == STAGE_REGISTERS) {
        say_what_happened();
        stage = STAGE_UNWIND;
    }
    if (stage == STAGE_UNWIND) {
        unwind_stack(&registers, frames, ARRAY_SIZE(frames), &frame_count);
        stage = STAGE_NAMES;
    }
    if (stage == STAGE_NAMES || stage == STAGE_BARE)
        say_frames(stage == STAGE_NAMES);
    report_part("]}\n");
    machine_stop(POWER_CRASHED);
}

_Noreturn void panic(const char *format, ...) {
    struct registers here = {.cs = CODE_SELECTOR, .ss = DATA_SELECTOR};
    char words[256];
    va_list list;

    // One point in this function, from which its callers can be found: the scratch
    // registers do not matter for that.
    __asm__ volatile(
        "leaq (%%rip), %%rax; movq %%rax, %0; movq %%rsp, %1; movq %%rbp, %2; movq %%rbx, %3"
        : "=m"(here.rip), "=m"(here.rsp), "=m"(here.rbp), "=m"(here.rbx)
        :
        : "rax");
    __asm__ volatile("movq %%r12, %0; movq %%r13, %1; movq %%r14, %2; movq %%r15, %3"
                     : "=m"(here.r12), "=m"(here.r13), "=m"(here.r14), "=m"(here.r15));
    here.rflags = read_flags();
    interrupts_off();
    va_start(list, format);
    format_list(words, sizeof(words), format, list);
    va_end(list);
    crash(&here, words);
}
