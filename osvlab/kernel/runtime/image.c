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

void image_describe(struct image *image) {
    u64 bias = image_bias();
    memset(image, 0, sizeof(*image));
    for (const Elf64_Dyn *entry = _DYNAMIC; entry->d_tag; entry++) {
        u64 value = entry->d_un.d_val;
        switch (entry->d_tag) {
        case DT_SYMTAB:
            image->symbols = (const void *)(bias + value);
            break;
        case DT_STRTAB:
            image->strings = (const void *)(bias + value);
            break;
        case DT_GNU_HASH:
            image->gnu_hash = (const void *)(bias + value);
            break;
        case DT_RELA:
            image->relocations[0].entries = (const void *)(bias + value);
            break;
        case DT_RELASZ:
            image->relocations[0].count = value / sizeof(Elf64_Rela);
            break;
        case DT_JMPREL:
            image->relocations[1].entries = (const void *)(bias + value);
            break;
        case DT_PLTRELSZ:
            image->relocations[1].count = value / sizeof(Elf64_Rela);
            break;
        case 36 /* DT_RELR */:
            image->relative = (const void *)(bias + value);
            break;
        case 35 /* DT_RELRSZ */:
            image->relative_count = value / sizeof(u64);
            break;
        }
    }
}

void image_move(const struct image *image, u64 by, u64 shift) {
    u64 bias = image_bias(), *where = NULL;
    for (size_t i = 0; i < image->relative_count; i++) {
        u64 entry = image->relative[i];
        if (!(entry & 1)) {
            where = (u64 *)(bias + entry + shift);
            *where++ += by;
            continue;
        }
        for (u64 *word = where; entry >>= 1; word++)
            if (entry & 1)
                *word += by;
        where += 63;
    }
}

static const char *bind_table(const struct image *image, const Elf64_Rela *table, size_t count,
                              u64 shift) {
    u64 bias = image_bias();
    for (size_t i = 0; i < count; i++) {
        const Elf64_Rela *r = &table[i];
        const Elf64_Sym *symbol = &image->symbols[ELF64_R_SYM(r->r_info)];
        u64 value = symbol->st_shndx ? bias + shift + symbol->st_value : 0;
        u64 *where = (u64 *)(bias + shift + r->r_offset);
        switch (ELF64_R_TYPE(r->r_info)) {
        case R_X86_64_NONE:
            break;
        case R_X86_64_RELATIVE:
            *where = bias + shift + (u64)r->r_addend;
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

const char *image_bind(const struct image *image, u64 shift) {
    const char *error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(image->relocations) && !error; i++)
        error =
            bind_table(image, image->relocations[i].entries, image->relocations[i].count, shift);
    return error;
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

// Where the constants end that code may refer to: what follows is unwind information.
static const char *constants_limit(void) {
    const Elf64_Ehdr *header = (const void *)kernel_start_address;
    const Elf64_Phdr *program = (const void *)(kernel_start_address + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++)
        if (program[i].p_type == PT_GNU_EH_FRAME)
            return (const char *)(image_bias() + program[i].p_vaddr);
    return constants_end;
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
        error = duplicate((char *)ALIGN_UP((u64)text_end, PAGE_SIZE), constants_limit(), *shift,
                          PROT_READ);
    if (!error &&
        mprotect(data_start + *shift, (size_t)(bss_end - data_start), PROT_READ | PROT_WRITE))
        error = "no memory for the application's libc";
    if (!error) {
        struct image image;
        image_describe(&image);
        memcpy(data_start + *shift, pristine_data, (size_t)(data_end - data_start));
        image_move(&image, *shift, *shift);
        error = image_bind(&image, *shift);
    }
    if (error)
        image_release(*shift);
    return error;
}

void image_release(u64 shift) {
    munmap(kernel_start_address + shift, (size_t)(kernel_end_address - kernel_start_address));
}
