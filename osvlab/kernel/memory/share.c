// Showing the kernel's own pages a second time, to an application that gets a libc of its own; and
// giving a new process the memory that another has prepared for it.
//
// Invariant: frames of the kernel image keep one reference that is never put, so mapping and
// unmapping them elsewhere never frees them. They are never shown writable.

#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "memory.h"
#include "runtime.h"
#include "thread.h"

int core_share(u64 kernel_address, size_t size, u64 address, int protection) {
    if ((protection & PROT_WRITE) || !in_kernel_image(kernel_address) ||
        !in_kernel_image(kernel_address + size - 1))
        return -EINVAL;
    int status = area_protect(address, size, protection);
    for (u64 offset = 0; !status && offset < size; offset += PAGE_SIZE) {
        u64 physical;
        if (!page_mapped(kernel_address + offset, &physical, NULL))
            return -EFAULT;
        struct page *page = page_of(PHYSICAL_TO_VIRTUAL(physical));
        if (!page->references)
            page->references = 1;
        page_get(page);
        status = page_map(address + offset, physical, protection);
        if (status)
            page_put(page);
    }
    return status;
}

int core_own(u64 address, size_t size, bool mine) {
    return area_give(address, size, mine ? current_process()->pid : 0);
}
