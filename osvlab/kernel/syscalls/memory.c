// System calls about memory.

#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "file.h"
#include "memory.h"
#include "scheduler.h"
#include "syscalls.h"
#include "user.h"

// A mapping made by a program's own SYSCALL instruction ends with its process; one made by the
// kernel's libc, on whomever's behalf, belongs to that libc, which all processes share.
static int owner_of_call(void) {
    return in_kernel_image(this_thread()->frame->rip) ? 0 : current_process()->pid;
}

static void populate(u64 address, size_t size) {
    u8 byte;

    for (u64 a = address; a < address + size; a += PAGE_SIZE)
        user_read(&byte, (void *)a, 1);
}

static long map_file(u64 address, size_t size, int protection, int flags, int descriptor,
                     u64 offset) {
    struct file *file = file_of(descriptor);
    if (!file)
        return -EBADF;
    bool shared_read_only = (flags & MAP_SHARED) && !file_writable(file);
    long result;
    if (!vnode_mappable(file_vnode(file)))
        result = -ENODEV;
    else if (!file_readable(file) || (shared_read_only && (protection & PROT_WRITE)))
        result = -EACCES;
    else if (shared_read_only)
        result = area_map_owned(address, size, protection, flags | AREA_READ_ONLY, file_vnode(file),
                                offset, owner_of_call());
    else
        result = area_map_owned(address, size, protection, flags, file_vnode(file), offset,
                                owner_of_call());
    file_put(file);
    return result;
}

long sys_mmap(u64 address, size_t size, int protection, int flags, int descriptor, u64 offset) {
    long result;

    int type = flags & MAP_TYPE;

    if ((offset & (PAGE_SIZE - 1)) || size == 0 ||
        (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE))
        return -EINVAL;
    if (offset + ALIGN_UP(size, PAGE_SIZE) < offset)
        return -EOVERFLOW;
    if (type == MAP_SHARED_VALIDATE)
        flags = (flags & ~MAP_TYPE) | MAP_SHARED;
    flags &= ~AREA_READ_ONLY;
    protection &= PROT_READ | PROT_WRITE | PROT_EXEC;
    if (flags & MAP_ANONYMOUS)
        result = area_map_owned(address, size, protection, flags, NULL, 0, owner_of_call());
    else
        result = map_file(address, size, protection, flags, descriptor, offset);
    if (result > 0 && (flags & (MAP_POPULATE | MAP_LOCKED)))
        populate((u64)result, size);
    return result;
}

long sys_munmap(u64 address, size_t size) {
    return area_unmap(address, size);
}

long sys_mprotect(u64 address, size_t size, int protection) {
    return area_protect(address, size, protection & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

long sys_mremap(u64 address, size_t old_size, size_t new_size, int flags, u64 new_address) {
    (void)new_address; // MREMAP_FIXED is refused
    return area_resize(address, old_size, new_size, flags);
}

long sys_madvise(u64 address, size_t size, int advice) {
    if (advice == MADV_DONTNEED)
        return size ? area_discard(address, size) : 0;
    return advice >= 0 && advice <= 25 ? 0 : -EINVAL;
}

long sys_mincore(u64 address, size_t size, u8 *map) {
    if ((address & (PAGE_SIZE - 1)) || (size && !area_range_valid(address, size)))
        return address & (PAGE_SIZE - 1) ? -EINVAL : -ENOMEM;
    for (u64 a = address; a < address + size; a += PAGE_SIZE) {
        u8 present = page_mapped(a, NULL, NULL);
        if (user_write(map++, &present, 1) < 0)
            return -EFAULT;
    }
    return 0;
}

// Shared pages are the file's own; so all there is to do is to have them on its disk.
long sys_msync(u64 address, size_t size, int flags) {
    u64 end = address + ALIGN_UP(size, PAGE_SIZE);
    int kinds = MS_ASYNC | MS_SYNC | MS_INVALIDATE;
    long status = 0;

    if ((address & (PAGE_SIZE - 1)) || (flags & ~kinds) ||
        (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
        return -EINVAL;
    if (end < address)
        return -ENOMEM;
    for (u64 at = address; at < end;) {
        u64 next;
        struct vnode *file = area_shared_file(at, &next);
        if (!next)
            return -ENOMEM; // nothing is mapped there
        int error = file && (flags & MS_SYNC) ? vnode_sync(file, true) : 0;
        status = status ? status : error;
        if (file)
            vnode_put(file);
        at = next;
    }
    return status;
}

long sys_brk(u64 address) {
    struct process *p = current_process();
    u64 old_end = ALIGN_UP(p->brk_end, PAGE_SIZE), new_end = ALIGN_UP(address, PAGE_SIZE);

    if (address < p->brk_start || address - p->brk_start > 0xffffffffUL)
        return (long)p->brk_end;
    if (new_end > old_end) {
        long at = area_map_owned(old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, p->pid);
        if (at < 0)
            return (long)p->brk_end;
    } else if (new_end < old_end) {
        area_unmap(new_end, old_end - new_end);
    }
    p->brk_end = address;
    return (long)address;
}
