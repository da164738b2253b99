// The unwinder on the host, where there is much to compare with: this very program's stack.
//
// It is linked from this file, which has call frame information, and unwind_bare.c, which like
// musl has none. Names and tables are those of the dynamic linker.

#include <assert.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <ucontext.h>
#include <unistd.h>

#include "crash.h"
#include "dwarf.h"

// --- The kernel around it ---

const char kernel_start_address[1];
static int probe[2]; // a pipe: write() says EFAULT where a load would fault

bool safe_read(void *to, u64 address, size_t size) {
    // Not the C functions, whose arguments the sanitizers would check.
    if (size > 4096 || syscall(SYS_write, probe[1], address, size) != (long)size)
        return false;
    assert(syscall(SYS_read, probe[0], to, size) == (long)size);
    return true;
}

// Asking the linker takes locks and is slow, so it is done once, before there are signals.
static struct object {
    u64 start, end, base, header;
} objects[32];
static size_t object_count;

static int note_object(struct dl_phdr_info *info, size_t size, void *unused) {
    struct object *o = &objects[object_count];
    (void)size, (void)unused;
    assert(object_count < ARRAY_SIZE(objects));
    *o = (struct object){.start = UINT64_MAX, .base = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        u64 at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD) {
            o->start = MIN(o->start, at);
            o->end = MAX(o->end, at + p->p_memsz);
        } else if (p->p_type == PT_GNU_EH_FRAME) {
            o->header = at;
        }
    }
    object_count++;
    return 0;
}

static const struct object *object_of(u64 address) {
    for (size_t i = 0; i < object_count; i++) {
        if (address >= objects[i].start && address < objects[i].end)
            return &objects[i];
    }
    return NULL;
}

bool runtime_symbolize(u64 address, struct symbol *out) {
    const struct object *o = object_of(address);
    Dl_info info;

    if (!o)
        return false;
    *out = (struct symbol){.object = "?",
                           .base = o->base,
                           .offset = address - o->base,
                           .eh_frame_header = (void *)o->header};
    if (dladdr((void *)address, &info) && info.dli_sname) {
        out->name = info.dli_sname;
        out->offset = address - (u64)info.dli_saddr;
    }
    return true;
}
bool in_kernel_image(u64 address) {
    (void)address;
    return false;
}
bool in_core_text(u64 address) {
    (void)address;
    return false;
}

// --- What is unwound ---

#define NOINLINE __attribute__((noinline, noclone))
#define FRAMES 64

static struct frame frames[FRAMES];
static volatile size_t count;

static struct registers registers_of(const ucontext_t *u) {
    const greg_t *g = u->uc_mcontext.gregs;
    return (struct registers){
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
}

static NOINLINE void unwind_here(void) {
    ucontext_t here;
    getcontext(&here);
    struct registers r = registers_of(&here);
    unwind_stack(&r, frames, FRAMES, &count);
}

static const char *name_of(size_t i) {
    static struct symbol s;
    bool exact = frames[i].kind == FRAME_EXACT;
    return symbolize(frames[i].address - !exact, &s) && s.name ? s.name : "?";
}

static void show_chain(void) {
    for (size_t n = 0; n < count; n++)
        fprintf(stderr, "  %#lx %s%s (%u)\n", frames[n].address, name_of(n),
                frames[n].kind == FRAME_GUESSED ? " ?" : "", frames[n].repeated);
}

static bool chain_has(const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(name_of(i), name))
            return true;
    }
    return false;
}

static void expect_chain(const char *const *names, const char *where) {
    size_t i = 0;
    for (size_t n = 0; n < count && names[i]; n++)
        i += !strcmp(name_of(n), names[i]);
    if (names[i]) {
        fprintf(stderr, "%s: no %s at its place in the chain:\n", where, names[i]);
        show_chain();
        exit(1);
    }
}

// Against glibc's own unwinder: the same return addresses from here to the end.
static void *reference[FRAMES];
static int reference_count;

static NOINLINE int leaf(int n) {
    volatile char buffer[n + 16]; // a frame that needs its frame pointer
    buffer[n] = 1;
    reference_count = backtrace(reference, FRAMES);
    unwind_here();
    return buffer[n];
}
NOINLINE int middle(int n);
NOINLINE int middle(int n) {
    return n > 0 ? middle(n - 1) + 1 : leaf(30) + 1;
}

static void test_against_glibc(void) {
    u64 all[FRAMES * 2]; // with folded frames written out
    size_t total = 0, i = 0;
    int n = 0;

    middle(5);
    for (size_t f = 0; f < count; f++) {
        for (u32 k = 0; k <= frames[f].repeated; k++)
            all[total++] = frames[f].address;
    }
    // The two differ in where they stood; from leaf's caller on they are the same.
    while (!strstr(name_of(i), "middle"))
        i++;
    while ((u64)reference[n] != frames[i].address)
        assert(++n < reference_count);
    // The outermost frame may be left out by one of the two.
    assert(reference_count - n >= 7 && total - i >= 7);
    for (; n < reference_count && i < total; n++, i++)
        assert(all[i] == (u64)reference[n]);
    assert(reference_count - n <= 1 && total - i <= 1);
}

static void test_folding(void) {
    middle(5000);
    size_t i = 0;
    while (i < count && strcmp(name_of(i), "middle") != 0)
        i++;
    assert(i + 1 < count &&
           frames[i].repeated + frames[i + 1].repeated == 4999 - 1 + !frames[i].repeated);
    assert(chain_has("main"));
}

// Without any tables: unwind_bare.c.
int bare_outer(int (*callback)(int), int n);

NOINLINE int callback(int n);
NOINLINE int callback(int n) {
    unwind_here();
    return n;
}

static void test_guessing(void) {
    const char *const names[] = {"callback",   "bare_inner", "bare_middle",
                                 "bare_outer", "main",       NULL};
    bare_outer(callback, 3);
    expect_chain(names, "guessing");
    for (size_t i = 0; i < count; i++) {
        if (!strncmp(name_of(i), "bare_middle", 11))
            assert(frames[i].kind == FRAME_GUESSED);
    }
}

// Through a signal handler, and from every single instruction of some calls.
static void on_signal(int number) {
    (void)number;
    unwind_here();
}

static void test_signal(void) {
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    assert((chain_has("raise") || chain_has("gsignal")) && chain_has("main"));
    size_t interrupted = 0;
    for (size_t i = 1; i < count; i++)
        interrupted += frames[i].kind == FRAME_EXACT;
    assert(interrupted >= 1);
}

static unsigned long steps, wrong;
static bool stepping_bare;

static void on_step(int number, siginfo_t *info, void *context) {
    struct registers r = registers_of(context);
    (void)number, (void)info;
    steps++;
    unwind_stack(&r, frames, FRAMES, &count);
    bool found = chain_has("stepped") && chain_has("main");
    if (!found && !stepping_bare)
        expect_chain((const char *const[]){"stepped", "main", NULL}, "stepping");
    wrong += !found;
}

// The trap flag makes the processor stop after every instruction (Intel SDM vol. 3, 18.3.1.4).
void trap_on(void);
void trap_off(void);
#define TRAP(name, change)                                                 \
    __asm__(".text\n.type " name ", @function\n" name ": .cfi_startproc\n" \
            "pushfq\n.cfi_adjust_cfa_offset 8\n" change " (%rsp)\n"        \
            "popfq\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n.size " name ", .-" name)
TRAP("trap_on", "orq $0x100,");
TRAP("trap_off", "andq $~0x100,");

NOINLINE int work(int n);
NOINLINE int work(int n) {
    volatile int table[n + 2];
    for (int i = 0; i < n; i++)
        table[i] = n > 1 ? work(n / 2) : i;
    return table[n / 2];
}

NOINLINE void stepped(bool bare);
NOINLINE void stepped(bool bare) {
    trap_on();
    if (bare)
        bare_outer(work, 3);
    else
        work(5);
    trap_off();
}

static void test_every_instruction(void) {
    static char stack[1 << 18];
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};

    sigaltstack(&alternate, NULL);
    sigaction(SIGTRAP, &action, NULL);
    stepped(false);
    assert(steps > 100 && wrong == 0);
    steps = 0;
    stepping_bare = true;
    stepped(true);
    // A guess has to be right nearly always.
    if (steps < 100 || wrong * 20 > steps) {
        fprintf(stderr, "%lu of %lu guesses were wrong\n", wrong, steps);
        exit(1);
    }
    signal(SIGTRAP, SIG_DFL);
}

// --- Damaged tables ---

// The rules for one address from a copy of this program's tables. The distances in them are
// relative, so the copy describes code that lies as far away as the copy does.
static bool rules_from_copy(u64 header, u64 copy, u64 address, struct frame_rules *out) {
    return frame_rules_find(copy, address + (copy - header), out);
}

static void test_damaged_tables(void) {
    u64 address = (u64)&leaf + 8;
    const struct object *self = object_of(address);
    size_t size = self->end - self->header;
    struct frame_rules rules, again;

    size = MIN(size, 1UL << 16); // both tables of a small program
    u8 *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u8 *pristine = malloc(size);
    for (size_t at = 0; at < size; at += 512) {
        if (!safe_read(pristine + at, self->header + at, MIN(512UL, size - at)))
            memset(pristine + at, 0, MIN(512UL, size - at));
    }
    memcpy(copy, pristine, size);
    assert(frame_rules_find(self->header, address, &rules));
    assert(rules_from_copy(self->header, (u64)copy, address, &again));
    assert(rules.cfa.kind == again.cfa.kind && rules.cfa_offset == again.cfa_offset);

    srand(1);
    for (int round = 0; round < 1500; round++) {
        size_t damage = round % 2 ? 4 : 64; // beginnings matter most: the header and first CIE
        for (int i = 0; i < 6; i++)
            copy[(size_t)rand() % (i < 3 ? size : damage * 16)] = (u8)rand();
        rules_from_copy(self->header, (u64)copy, address, &again);
        if (round % 16 == 0)
            memcpy(copy, pristine, size);
    }
    assert(!frame_rules_find(0, address, &again) && !frame_rules_find(8, address, &again));
    munmap(copy, size);
    free(pristine);
}

static void check_expression(const u8 *bytes, bool good, u64 expected) {
    u64 registers[DWARF_REGISTERS] = {[DWARF_RSP] = 0x1000, [DWARF_RIP] = 0x401236};
    u64 result = 0, initial = 7;
    assert(dwarf_evaluate((u64)bytes, registers, &initial, &result) == good);
    assert(!good || result == expected);
}

static void test_expressions(void) {
    // What linkers write for procedure linkage tables: rsp + 8 + ((rip & 15) >= 11) * 8.
    check_expression((const u8[]){11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22},
                     true, 0x1008);
    check_expression((const u8[]){1, 0x12}, true, 7);
    check_expression((const u8[]){2, 0x12, 0x22}, true, 14);
    check_expression((const u8[]){2, 0x13, 0x13}, false, 0);             // pops too much
    check_expression((const u8[]){1, 0xff}, false, 0);                   // no such operation
    check_expression((const u8[]){3, 0x2f, 0xfd, 0xff}, false, 0);       // jumps to itself
    check_expression((const u8[]){3, 0x2f, 0x00, 0x70}, false, 0);       // jumps out
    check_expression((const u8[]){4, 0x12, 0x2f, 0xfc, 0xff}, false, 0); // pushes for ever
    check_expression((const u8[]){2, 0x31, 0x06}, false, 0);             // reads at 1
    srand(2);
    for (int round = 0; round < 5000; round++) {
        u8 bytes[32] = {31};
        u64 registers[DWARF_REGISTERS] = {[DWARF_RSP] = (u64)bytes}, result;
        for (size_t i = 1; i < sizeof(bytes); i++)
            bytes[i] = (u8)rand();
        dwarf_evaluate((u64)bytes, registers, NULL, &result);
    }
}

// A stack that means nothing gives few frames or many, but ends.
static void test_damaged_stacks(void) {
    u64 *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    srand(3);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 1 << 13; i++)
            stack[i] = rand() % 3 ? (u64)&leaf + rand() % 4096 : (u64)&stack[rand() % (1 << 13)];
        struct registers r = {.rip = (u64)&leaf + rand() % 64,
                              .rsp = (u64)&stack[rand() % 512],
                              .rbp = (u64)&stack[rand() % (1 << 13)]};
        unwind_stack(&r, frames, FRAMES, &count);
        assert(count >= 1 && count <= FRAMES);
    }
    struct registers nowhere = {.rip = 0x10, .rsp = 0x20};
    unwind_stack(&nowhere, frames, FRAMES, &count);
    assert(count == 1);
    munmap(stack, 1 << 16);
}

int main(void) {
    assert(pipe(probe) == 0);
    dl_iterate_phdr(note_object, NULL);
    backtrace(reference, 1); // loads libgcc now, not in the middle of a test
    test_against_glibc();
    test_folding();
    test_guessing();
    test_signal();
    test_every_instruction();
    test_damaged_tables();
    test_expressions();
    test_damaged_stacks();
    puts("ok");
}
