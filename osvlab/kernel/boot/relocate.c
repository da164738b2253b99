// The kernel is linked as a shared object at a fixed address, so that programs find libc in it as
// in any library (its .dynsym). What the linker left open are the addresses of exported data:
// filled in here, like a dynamic linker would (System V ABI, x86-64 psABI 4.4.1).
//
// RELR relocations (addresses of the kernel's own, hidden things) are already right in the file,
// because the kernel runs where it was linked.

#include <elf.h>

#include "base.h"
#include "print.h"

extern Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

void relocate_kernel(void);

static u64 dynamic_value(Elf64_Sxword tag) {
    for (const Elf64_Dyn *d = _DYNAMIC; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == tag)
            return d->d_un.d_val;
    }
    return 0;
}

void relocate_kernel(void) {
    const Elf64_Sym *symbols = (const Elf64_Sym *)dynamic_value(DT_SYMTAB);
    const Elf64_Rela *rela = (const Elf64_Rela *)dynamic_value(DT_RELA);
    size_t count = dynamic_value(DT_RELASZ) / sizeof(*rela);

    for (size_t i = 0; i < count; i++) {
        u64 *place = (u64 *)rela[i].r_offset;
        u64 symbol = symbols[ELF64_R_SYM(rela[i].r_info)].st_value;

        switch (ELF64_R_TYPE(rela[i].r_info)) {
        case R_X86_64_RELATIVE:
            *place = (u64)rela[i].r_addend;
            break;
        case R_X86_64_64:
        case R_X86_64_GLOB_DAT:
        case R_X86_64_JUMP_SLOT:
            *place = symbol ? symbol + (u64)rela[i].r_addend : 0;
            break;
        default:
            panic("the kernel's own relocation %lu is of unknown type %lu", i,
                  ELF64_R_TYPE(rela[i].r_info));
        }
    }
}
