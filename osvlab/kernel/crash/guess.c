// Musl is compiled without call frame information and without frame pointers, so its frames
// can only be guessed. The guess is a good one: a return address points behind a call
// instruction, and most calls say which function they enter, which must be the one whose caller
// is looked for (Intel SDM vol. 2, CALL: opcodes E8 and FF /2).

#include "guess.h"

#include <string.h>

#include "crash.h"

#define WINDOW 16384 // the largest frame in musl is that of printf("%Lf"), some 8 KiB
#define FRAME_LIMIT 65536
#define LONGEST_CALL 7
#define SHORT_FUNCTION 64 // long enough for functions that only prepare arguments for another

// The size of `FF /2` with this ModRM byte and what follows it, or 0 if it is another operation.
static size_t indirect_call_size(u8 modrm, u8 sib) {
    u8 mode = modrm >> 6, low = modrm & 7;

    if ((modrm >> 3 & 7) != 2)
        return 0;
    if (mode == 3)
        return 2;
    size_t size = 2 + (low == 4);
    if (mode == 1)
        return size + 1;
    bool wide = mode == 2 || low == 5 || (low == 4 && (sib & 7) == 5);
    return size + (wide ? 4 : 0);
}

// Where a jump through memory at `code` goes: endbr64, bnd and `jmp *slot(%rip)`, as linkers
// write the entries of procedure linkage tables. Other code is its own destination.
static u64 through_linkage_table(u64 code) {
    u8 bytes[16];
    size_t i = 0;
    i64 destination;

    if (!safe_read(bytes, code, sizeof(bytes)))
        return code;
    if (!memcmp(bytes, "\xf3\x0f\x1e\xfa", 4))
        i = 4;
    if (bytes[i] == 0xf2)
        i++;
    if (bytes[i] != 0xff || bytes[i + 1] != 0x25)
        return code;
    int distance;
    memcpy(&distance, bytes + i + 2, sizeof(distance));
    return safe_read(&destination, code + i + 6 + (u64)(i64)distance, 8) ? (u64)destination : code;
}

// What ends with a call in the seven bytes before a return address?
static bool decode_call(const u8 *bytes, u64 address, u64 *target) {
    int distance;

    *target = 0;
    memcpy(&distance, bytes + LONGEST_CALL - 4, sizeof(distance));
    if (bytes[LONGEST_CALL - 5] == 0xe8) {
        *target = through_linkage_table(address + (u64)(i64)distance);
        return true;
    }
    if (bytes[LONGEST_CALL - 6] == 0xff && bytes[LONGEST_CALL - 5] == 0x15) { // call *slot(%rip)
        if (!safe_read(target, address + (u64)(i64)distance, sizeof(*target)))
            *target = 0;
        return true;
    }
    for (size_t size = 2; size <= LONGEST_CALL; size++) {
        const u8 *p = bytes + LONGEST_CALL - size;
        if (p[0] == 0xff && indirect_call_size(p[1], size > 2 ? p[2] : 0) == size)
            return true;
    }
    return false;
}

bool call_site(u64 address, u64 *target) {
    u8 bytes[LONGEST_CALL];
    struct symbol symbol;

    return safe_read(bytes, address - LONGEST_CALL, sizeof(bytes)) &&
           decode_call(bytes, address, target) && symbolize(address - 1, &symbol);
}

bool is_trampoline(u64 address) {
    // mov $15, %rax (rt_sigreturn); syscall: so every libc has it, and unwinders rely on it.
    static const u8 code[9] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    u8 bytes[sizeof(code)];

    return safe_read(bytes, address, sizeof(bytes)) && !memcmp(bytes, code, sizeof(code));
}

// Does the function at `code` end by jumping to one that starts from `first` to `last`? (A call
// in tail position: then it is the jump's target that has the frame.)
static bool jumps_to(u64 code, u64 first, u64 last) {
    u8 bytes[SHORT_FUNCTION];

    if (!safe_read(bytes, code, sizeof(bytes)))
        return false;
    for (size_t i = 0; i + 5 <= sizeof(bytes); i++) {
        int distance;
        memcpy(&distance, bytes + i + 1, sizeof(distance));
        u64 target = code + i + 5 + (u64)(i64)distance;
        if (bytes[i] == 0xe9 && target >= first && target <= last)
            return true;
    }
    return false;
}

// How well does `word`, as its return address, explain that a function that starts from `first`
// to `last` runs?
enum fit { FIT_NONE, FIT_OTHER_TARGET, FIT_UNKNOWN_TARGET, FIT_TARGET };

static enum fit fit_of(u64 word, u64 first, u64 last) {
    u64 target;

    if (!call_site(word, &target))
        return is_trampoline(word) ? FIT_UNKNOWN_TARGET : FIT_NONE;
    if (!target)
        return FIT_UNKNOWN_TARGET;
    if ((target >= first && target <= last) || jumps_to(target, first, last))
        return FIT_TARGET;
    return FIT_OTHER_TARGET;
}

u64 guess_return(u64 stack, u64 first, u64 last, u64 *address) {
    enum fit best = FIT_NONE;
    u64 place = 0;

    for (u64 at = ALIGN_UP(stack, 8); at < stack + WINDOW && best != FIT_TARGET; at += 8) {
        u64 word;
        if (!safe_read(&word, at, sizeof(word))) {
            at |= PAGE_SIZE - 8; // after a stack overflow the next page may be there
            continue;
        }
        enum fit fit = fit_of(word, first, last);
        if (fit > best) {
            best = fit;
            place = at;
            *address = word;
        }
    }
    return place;
}

static bool likely_frame_pointer(u64 value, u64 above) {
    u64 return_address, target;

    return value > above && value < above + FRAME_LIMIT && !(value & 7) &&
           safe_read(&return_address, value + 8, sizeof(return_address)) &&
           call_site(return_address, &target);
}

u64 guess_frame_pointer(u64 from, u64 to) {
    for (u64 at = to - 8; at >= from && at < to; at -= 8) {
        u64 word;
        if (!safe_read(&word, at, sizeof(word)))
            break;
        if (likely_frame_pointer(word, to))
            return word;
    }
    return 0;
}
