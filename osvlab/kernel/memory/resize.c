// mremap: growing and shrinking an area, in place when the room is there.

#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "file.h"
#include "memory.h"

// Moves the pages, not their contents.
static void move_pages(u64 from, u64 to, u64 size) {
    for (u64 a = page_next_mapped(from, from + size); a < from + size;
         a = page_next_mapped(a + PAGE_SIZE, from + size)) {
        int protection;
        page_mapped(a, NULL, &protection);
        page_map(to + (a - from), page_unmap(a), protection);
    }
}

static bool room_after(const struct area *a, u64 more) {
    struct area *next = area_tree_after(a->end);

    return area_range_valid(a->end, more) && (!next || next->start >= a->end + more);
}

static long grow(u64 address, u64 old_size, u64 new_size, int flags) {
    mutex_lock(&areas_lock);
    struct area *a = area_at(address);
    if (!a || a->end < address + old_size) {
        mutex_unlock(&areas_lock);
        return -EFAULT;
    }
    if (a->end == address + old_size && room_after(a, new_size - old_size)) {
        a->end = address + new_size;
        mutex_unlock(&areas_lock);
        return (long)address;
    }
    struct area like = *a;
    mutex_unlock(&areas_lock);
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;

    long moved = area_map_owned(0, new_size, like.protection, like.flags, like.file,
                                like.offset + (address - like.start), like.owner);
    if (moved < 0)
        return moved;
    mutex_lock(&areas_lock);
    move_pages(address, (u64)moved, old_size);
    mutex_unlock(&areas_lock);
    area_unmap(address, old_size);
    return moved;
}

long area_resize(u64 address, size_t old_size, size_t new_size, int flags) {
    old_size = ALIGN_UP(old_size, PAGE_SIZE);
    new_size = ALIGN_UP(new_size, PAGE_SIZE);
    if ((address & (PAGE_SIZE - 1)) || !new_size || !old_size || (flags & ~MREMAP_MAYMOVE) ||
        !area_range_valid(address, old_size))
        return -EINVAL;
    if (new_size > old_size)
        return grow(address, old_size, new_size, flags);
    int status = new_size < old_size ? area_unmap(address + new_size, old_size - new_size) : 0;
    return status ? status : (long)address;
}
