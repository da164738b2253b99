// From an ELF file to a mapped object.
//
// Invariant: nothing of a file is believed before it was checked against the file's size, and
// an object that is refused leaves no mapping. gABI chapter 5, "Program Loading".

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linker.h"

#define MAX_HEADERS 64
#define FIRST_ADDRESS 0x100000000000UL // as OSv
#define SEGMENT_MOST (1UL << 30)

struct file {
    const char *path;
    int descriptor;
    u64 size;
    Elf64_Ehdr header;
};

// A script is refused, but helpfully.
static void refuse_script(const struct file *file, const char *start, size_t size) {
    int length = 0;
    while (2 + length < (int)size && start[2 + length] != '\n' && start[2 + length])
        length++;
    const char *name = start + 2;
    while (length && *name == ' ')
        name++, length--;
    linker_fail("%s: a script, not an ELF program; run its interpreter: %.*s %s", file->path,
                length, name, file->path);
}

static bool check_identity(const struct file *file) {
    const Elf64_Ehdr *h = &file->header;
    const char *path = file->path;
    if (h->e_ident[EI_CLASS] != ELFCLASS64)
        linker_fail("%s: bad elf class (a 32-bit file; this kernel runs 64-bit programs)", path);
    else if (h->e_ident[EI_DATA] != ELFDATA2LSB)
        linker_fail("%s: bad elf endianness (big-endian)", path);
    else if (h->e_ident[EI_VERSION] != EV_CURRENT)
        linker_fail("%s: bad elf version %d", path, h->e_ident[EI_VERSION]);
    else if (h->e_ident[EI_OSABI] != ELFOSABI_NONE && h->e_ident[EI_OSABI] != ELFOSABI_LINUX)
        linker_fail("%s: bad os abi %d", path, h->e_ident[EI_OSABI]);
    else if (h->e_machine != EM_X86_64)
        linker_fail("machine type for %s differs from the kernel: %d, not %d (x86_64)", path,
                    h->e_machine, EM_X86_64);
    else if (h->e_type != ET_DYN && h->e_type != ET_EXEC)
        linker_fail(
            "%s: bad executable type %d (only shared-object, PIE or non-PIE executable supported)",
            path, h->e_type);
    else if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > MAX_HEADERS)
        linker_fail("%s: bad elf header (%d program headers of %d bytes)", path, h->e_phnum,
                    h->e_phentsize);
    else
        return true;
    return false;
}

static bool read_header(struct file *file) {
    struct stat status;
    char start[256] = {0};
    if (fstat(file->descriptor, &status)) {
        linker_fail("%s: %s", file->path, strerror(errno));
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        linker_fail("%s: %s, not a program", file->path,
                    S_ISDIR(status.st_mode) ? "a directory" : "no regular file");
        return false;
    }
    file->size = (u64)status.st_size;
    ssize_t got = pread(file->descriptor, start, sizeof(start) - 1, 0);
    if (got < 0) {
        linker_fail("%s: can't read elf header: %s", file->path, strerror(errno));
        return false;
    }
    if (got >= 2 && start[0] == '#' && start[1] == '!') {
        refuse_script(file, start, (size_t)got);
        return false;
    }
    if (got < SELFMAG || memcmp(start, ELFMAG, SELFMAG)) {
        linker_fail("%s: bad elf header (%s)", file->path,
                    got ? "not an ELF file" : "the file is empty");
        return false;
    }
    if ((size_t)got < sizeof(Elf64_Ehdr)) {
        linker_fail("executable too short %s: file_size=%zd need=%zu", file->path, got,
                    sizeof(Elf64_Ehdr));
        return false;
    }
    memcpy(&file->header, start, sizeof(Elf64_Ehdr));
    return check_identity(file);
}

static bool check_segment(const struct file *file, const Elf64_Phdr *p, u64 previous_end) {
    u64 end;
    if (p->p_filesz && (p->p_offset > file->size || p->p_filesz > file->size - p->p_offset))
        linker_fail("executable too short %s: file_size=%llu need=%llu", file->path,
                    (unsigned long long)file->size,
                    (unsigned long long)(p->p_offset + p->p_filesz));
    else if (p->p_memsz < p->p_filesz || __builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) ||
             end > 1UL << 46 || p->p_vaddr < previous_end ||
             (p->p_filesz && (p->p_vaddr - p->p_offset) % PAGE_SIZE))
        linker_fail("%s: bad segment at 0x%llx", file->path, (unsigned long long)p->p_vaddr);
    else
        return true;
    return false;
}

// Reads the program headers and finds out what room the object needs.
static bool read_headers(const struct file *file, struct object *object) {
    const Elf64_Ehdr *h = &file->header;
    size_t size = h->e_phnum * sizeof(Elf64_Phdr);
    object->headers = __libc_calloc(h->e_phnum, sizeof(Elf64_Phdr));
    if (!object->headers) {
        linker_fail("%s: out of memory", file->path);
        return false;
    }
    if (pread(file->descriptor, object->headers, size, (off_t)h->e_phoff) != (ssize_t)size) {
        linker_fail("executable too short %s: file_size=%llu need=%llu", file->path,
                    (unsigned long long)file->size, (unsigned long long)(h->e_phoff + size));
        return false;
    }
    object->header_count = h->e_phnum;
    u64 start = UINT64_MAX, end = 0;
    for (size_t i = 0; i < object->header_count; i++) {
        const Elf64_Phdr *p = &object->headers[i];
        if (p->p_type == PT_INTERP)
            object->has_interpreter = true;
        if (p->p_type != PT_LOAD || !p->p_memsz)
            continue;
        if (!check_segment(file, p, end))
            return false;
        start = MIN(start, ALIGN_DOWN(p->p_vaddr, PAGE_SIZE));
        end = p->p_vaddr + p->p_memsz;
    }
    if (!end) {
        linker_fail("%s: nothing to load in it", file->path);
        return false;
    }
    object->start = start;
    object->end = ALIGN_UP(end, PAGE_SIZE);
    return true;
}

// The kernel proper, not this application's instance of it, is what no program may lie on.
static bool collides_with_kernel(const struct object *object) {
    u64 start = application.kernel->start - application.launch->shift;
    u64 end = application.kernel->end - application.launch->shift;
    return object->start < end && start < object->end;
}

// Takes an address range for the whole object; fixes its base.
static bool reserve(struct object *object) {
    u64 size = object->end - object->start, want = object->start;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const char *problem = "%s: no room for its 0x%llx-0x%llx";
    if (object->executable_type) {
        flags |= MAP_FIXED_NOREPLACE;
        problem = collides_with_kernel(object)
                      ? "Non-PIC executable [%s] collides with kernel: [%llx-%llx] !"
                      : "%s: its addresses 0x%llx-0x%llx are in use";
    } else {
        want = application.next_address ? application.next_address : FIRST_ADDRESS;
    }
    u8 *place = MAP_FAILED;
    if (!object->executable_type || !collides_with_kernel(object))
        place = mmap((void *)want, size, PROT_NONE, flags, -1, 0);
    if (place != MAP_FAILED && object->executable_type && (u64)place != want) {
        munmap(place, size); // flag unknown to the kernel: the address was only a wish
        place = MAP_FAILED;
    }
    if (place == MAP_FAILED) {
        linker_fail(problem, object->path, (unsigned long long)object->start,
                    (unsigned long long)object->end);
        return false;
    }
    object->mapped = true;
    object->base = (u64)place - object->start;
    object->start += object->base;
    object->end += object->base;
    if (!object->executable_type)
        application.next_address = object->end;
    return true;
}

static int protection(const Elf64_Phdr *p) {
    return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
           (p->p_flags & PF_X ? PROT_EXEC : 0);
}

static bool map_segment(const struct file *file, const struct object *object, const Elf64_Phdr *p) {
    u64 start = object->base + p->p_vaddr, page = ALIGN_DOWN(start, PAGE_SIZE);
    u64 file_end = start + p->p_filesz, end = start + p->p_memsz;
    int flags = MAP_PRIVATE | MAP_FIXED, prot = protection(p);
    if (p->p_filesz && mmap((void *)page, file_end - page, prot, flags, file->descriptor,
                            (off_t)(p->p_offset - (start - page))) == MAP_FAILED)
        return false;
    if (end == file_end)
        return true;
    u64 zero = p->p_filesz ? ALIGN_UP(file_end, PAGE_SIZE) : page;
    if (p->p_filesz && (prot & PROT_WRITE))
        memset((void *)file_end, 0, MIN(zero, end) - file_end);
    return zero >= end ||
           mmap((void *)zero, end - zero, prot, flags | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

// The same for an object of the core, which must not wait for a page of its own.
static bool copy_segment(const struct file *file, const struct object *object,
                         const Elf64_Phdr *p) {
    u64 start = object->base + p->p_vaddr, page = ALIGN_DOWN(start, PAGE_SIZE);
    size_t size = ALIGN_UP(start + p->p_memsz, PAGE_SIZE) - page;
    if (mmap((void *)page, size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
        return false;
    return pread(file->descriptor, (void *)start, p->p_filesz, (off_t)p->p_offset) ==
               (ssize_t)p->p_filesz &&
           mprotect((void *)page, size, protection(p)) == 0;
}

static bool map_segments(const struct file *file, struct object *object) {
    for (size_t i = 0; i < object->header_count; i++) {
        const Elf64_Phdr *p = &object->headers[i];
        if (p->p_type != PT_LOAD || !p->p_memsz)
            continue;
        if (!(application.is_core ? copy_segment : map_segment)(file, object, p)) {
            linker_fail("%s: cannot map it: %s", object->path, strerror(errno));
            return false;
        }
    }
    return true;
}

// Variables of threads that begin as zeros are not in the object: their header reaches beyond it.
static bool is_inside(const struct object *object, const Elf64_Phdr *p, const void *place) {
    u64 size = p->p_type == PT_TLS ? p->p_filesz : p->p_memsz;

    return object_holds(object, place, size) && p->p_filesz <= p->p_memsz &&
           p->p_memsz <= SEGMENT_MOST && !(p->p_align & (p->p_align - 1));
}

static bool load(const struct file *file, struct object *object) {
    if (!read_headers(file, object) || !reserve(object) || !map_segments(file, object))
        return false;
    for (size_t i = 0; i < object->header_count; i++) {
        const Elf64_Phdr *p = &object->headers[i];
        void *place = object_at(object, p->p_vaddr);
        bool used = p->p_type == PT_DYNAMIC || p->p_type == PT_GNU_EH_FRAME ||
                    p->p_type == PT_GNU_RELRO || p->p_type == PT_TLS;
        if (used && !is_inside(object, p, place)) {
            linker_fail("%s: bad elf header (program header %zu points outside)", object->path, i);
            return false;
        }
        switch (p->p_type) {
        case PT_DYNAMIC:
            object->dynamic = place;
            break;
        case PT_GNU_EH_FRAME:
            object->eh_frame_header = place;
            break;
        case PT_GNU_RELRO:
            object->relro_start = ALIGN_DOWN((u64)place, PAGE_SIZE);
            object->relro_end = ALIGN_DOWN((u64)place + p->p_memsz, PAGE_SIZE);
            break;
        case PT_TLS:
            object->tls = (struct tls_module){.image = place,
                                              .length = p->p_filesz,
                                              .size = p->p_memsz,
                                              .align = p->p_align ? p->p_align : 1};
            break;
        }
    }
    return object_read_dynamic(object);
}

struct object *object_load(const char *path, int descriptor) {
    struct file file = {.path = path, .descriptor = descriptor};
    struct stat status;
    if (!read_header(&file))
        return NULL;
    struct object *object = __libc_calloc(1, sizeof(*object));
    if (!object || !(object->path = __libc_malloc(strlen(path) + 1))) {
        __libc_free(object);
        linker_fail("%s: out of memory", path);
        return NULL;
    }
    strcpy(object->path, path);
    const char *slash = strrchr(object->path, '/');
    object->short_name = slash ? slash + 1 : object->path;
    object->executable_type = file.header.e_type == ET_EXEC;
    if (!fstat(descriptor, &status)) {
        object->device = status.st_dev;
        object->inode = status.st_ino;
    }
    if (!load(&file, object)) {
        object_unload(object);
        return NULL;
    }
    object->entry = file.header.e_entry ? object->base + file.header.e_entry : 0;
    if (object->entry && !object_holds(object, (void *)object->entry, 1)) {
        linker_fail("%s: bad elf header (its entry 0x%llx is outside)", path,
                    (unsigned long long)file.header.e_entry);
        object_unload(object);
        return NULL;
    }
    object_register(object, descriptor);
    return object;
}

void object_unload(struct object *object) {
    if (object->mapped) {
        registry_remove(application.launch, object->start);
        munmap((void *)object->start, object->end - object->start);
    }
    __libc_free(object->headers);
    __libc_free(object->needed);
    __libc_free(object->path);
    __libc_free(object);
}
