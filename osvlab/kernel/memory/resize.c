// mremap: growing and shrinking an area, in place when the room is there.

#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "file.h"
#include "memory.h"

// Moves the pages, not their contents. If there is no memory for page tables, all stay.
static bool move_pages(u64 from, u64 to, u64 size) {
    for (u64 a = page_next_mapped(from, from + size); a < from + size;
         a = page_next_mapped(a + PAGE_SIZE, from + size)) {
        u64 physical;
        int protection;
        page_mapped(a, &physical, &protection);
        if (page_map(to + (a - from), physical, protection) < 0) {
            move_pages(to, from, a - from); // their tables are still there
            return false;
        }
        page_unmap(a);
    }
    return true;
}

static bool room_after(const struct area *a, u64 more) {
    struct area *next = area_tree_after(a->end);

    return area_range_valid(a->end, more) && (!next || next->start >= a->end + more);
}

static long grow_locked(u64 address, u64 old_size, u64 new_size, int flags) {
    struct area *a = area_at(address);

    if (!a || a->end < address + old_size)
        return -EFAULT;
    if (a->end == address + old_size && room_after(a, new_size - old_size)) {
        a->end = address + new_size;
        return (long)address;
    }
    if (!(flags & MREMAP_MAYMOVE) || area_isolate(address, address + old_size) < 0)
        return -ENOMEM;
    struct area like = *area_at(address);
    like.start = 0; // anywhere
    long moved = area_map_locked(&like, new_size);
    if (moved < 0)
        return moved;
    area_take_dirty(area_at(address), address, address + old_size);
    if (!move_pages(address, (u64)moved, old_size)) {
        area_unmap_locked((u64)moved, (u64)moved + new_size);
        return -ENOMEM;
    }
    area_unmap_locked(address, address + old_size); // an area of its own: this cannot fail
    return moved;
}

static long grow(u64 address, u64 old_size, u64 new_size, int flags) {
    if (new_size > LINEAR_BASE)
        return -ENOMEM;
    mutex_lock(&areas_lock);
    long result = grow_locked(address, old_size, new_size, flags);
    mutex_unlock(&areas_lock);
    return result;
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
