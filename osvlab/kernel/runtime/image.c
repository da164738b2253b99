// Private instances of the kernel image: see image.h.
//
// Invariant: an instance keeps every distance inside the image, because code and constants
// find their data relative to the instruction pointer. Code that is only the core's is left
// out: a call into it from an application would be a bug, and faults.
// Relocation types: System V ABI AMD64 supplement 4.4; RELR: gABI, SHT_RELR.

#include "image.h"

#include <string.h>
#include <sys/mman.h>

#include "musl.h"
#include "runtime.h"

static void *pristine_data;

u64 image_bias(void) {
    return (u64)_DYNAMIC - _GLOBAL_OFFSET_TABLE_[0]; // the ABI keeps _DYNAMIC's link address there
}

void image_move(u64 by, u64 shift) {
    u64 bias = image_bias(), *where = NULL;
    for (const u64 *entry = image_relative; entry < image_relative_end; entry++) {
        u64 bits = *entry;
        if (!(bits & 1)) {
            where = (u64 *)(bias + bits + shift);
            *where++ += by;
            continue;
        }
        for (u64 *word = where; bits >>= 1; word++)
            if (bits & 1)
                *word += by;
        where += 63;
    }
}

const char *image_bind(u64 shift) {
    u64 bias = image_bias() + shift;
    for (const Elf64_Rela *r = image_relocations; r < image_relocations_end; r++) {
        const Elf64_Sym *symbol = &image_symbols[ELF64_R_SYM(r->r_info)];
        u64 value = symbol->st_shndx ? bias + symbol->st_value : 0;
        u64 *where = (u64 *)(bias + r->r_offset);
        switch (ELF64_R_TYPE(r->r_info)) {
        case R_X86_64_NONE:
            break;
        case R_X86_64_RELATIVE:
            *where = bias + (u64)r->r_addend;
            break;
        case R_X86_64_64:
            *where = value + (u64)r->r_addend;
            break;
        case R_X86_64_GLOB_DAT:
        case R_X86_64_JUMP_SLOT:
            *where = value;
            break;
        default:
            return "the kernel image has a relocation of unknown type";
        }
    }
    return NULL;
}

void image_keep_data(void) {
    size_t size = (size_t)(data_end - data_start);
    pristine_data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pristine_data != MAP_FAILED)
        memcpy(pristine_data, data_start, size);
}

// Shows the pages a second time or, where the core cannot, copies them.
static const char *duplicate(const char *from, const char *to, u64 shift, int protection) {
    u64 start = ALIGN_DOWN((u64)from, PAGE_SIZE), end = ALIGN_UP((u64)to, PAGE_SIZE);
    if (start >= end)
        return NULL;
    if (core_share(start, end - start, start + shift, protection) == 0)
        return NULL;
    void *copy = (void *)(start + shift);
    if (mprotect(copy, end - start, PROT_READ | PROT_WRITE))
        return "no memory for the application's libc";
    memcpy(copy, (const void *)start, end - start);
    return mprotect(copy, end - start, protection) ? "cannot protect the application's libc" : NULL;
}

const char *image_instantiate(u64 *shift) {
    if (pristine_data == MAP_FAILED)
        return "no memory for the application's libc";
    size_t size = (size_t)(kernel_end_address - kernel_start_address);
    char *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED)
        return "no room for the application's libc";
    *shift = (u64)(place - kernel_start_address);

    const char *error = duplicate(core_text_end, text_end, *shift, PROT_READ | PROT_EXEC);
    if (!error)
        error = duplicate((char *)ALIGN_UP((u64)text_end, PAGE_SIZE), code_constants_end, *shift,
                          PROT_READ);
    if (!error &&
        mprotect(data_start + *shift, (size_t)(bss_end - data_start), PROT_READ | PROT_WRITE))
        error = "no memory for the application's libc";
    if (!error) {
        memcpy(data_start + *shift, pristine_data, (size_t)(data_end - data_start));
        image_move(*shift, *shift);
        error = image_bind(*shift);
    }
    if (error)
        image_release(*shift);
    return error;
}

void image_release(u64 shift) {
    munmap(kernel_start_address + shift, (size_t)(kernel_end_address - kernel_start_address));
}

void image_own(u64 shift, bool mine) {
    core_own((u64)kernel_start_address + shift, (size_t)(kernel_end_address - kernel_start_address),
             mine);
}
