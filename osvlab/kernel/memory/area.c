// Areas: what mmap promised, page by page kept on demand (memory/fault.c).
//
// Invariant: a page is mapped only inside an area, with at most the area's protection, and
// holds one reference to its frame. Writable pages of private file areas belong to them alone
// (their frame has one reference); pages still shared with the page cache are mapped read-only.

#include "area.h"

#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "file.h"
#include "memory.h"
#include "print.h"
#include "thread.h"

#define SEARCH_BASE 0x200000000000UL
#define SEARCH_END 0x300000000000UL
#define LOWEST_ADDRESS 0x10000UL
#define LOW_SEARCH_END 0x40000000UL // MAP_32BIT, below the kernel

struct mutex areas_lock = MUTEX(areas_lock, "areas");
static u64 search_from = SEARCH_BASE;

bool area_range_valid(u64 address, u64 size) {
    u64 kernel_start, kernel_end;

    kernel_range(&kernel_start, &kernel_end);
    return size && address + size > address && address >= LOWEST_ADDRESS &&
           address + size <= LINEAR_BASE &&
           (address + size <= kernel_start || address >= kernel_end);
}

struct area *area_at(u64 address) {
    struct area *a = area_tree_after(address);

    return a && a->start <= address ? a : NULL;
}

static struct area *area_copy(const struct area *from, u64 start, u64 end) {
    struct area *a = kzalloc(sizeof(*a));

    if (!a)
        return NULL;
    *a = *from;
    a->start = start;
    a->end = end;
    a->offset += start - from->start;
    if (a->file)
        vnode_get(a->file);
    return a;
}

static void area_free(struct area *a) {
    if (a->file)
        vnode_put(a->file);
    kfree(a);
}

// Makes area boundaries fall on `address`.
static int split_at(u64 address) {
    struct area *a = area_at(address);

    if (!a || a->start == address)
        return 0;
    struct area *upper = area_copy(a, address, a->end);
    if (!upper)
        return -ENOMEM;
    a->end = address;
    area_tree_insert(upper);
    return 0;
}

void area_take_dirty(const struct area *a, u64 start, u64 end) {
    if (!a->file || !(a->flags & MAP_SHARED) || !vnode_writes_back(a->file))
        return;
    for (u64 p = page_next_mapped(start, end); p < end; p = page_next_mapped(p + PAGE_SIZE, end)) {
        if (page_take_dirty(p))
            vnode_dirtied(a->file, (a->offset + (p - a->start)) >> PAGE_SHIFT);
    }
}

static void drop_pages(const struct area *area, u64 start, u64 end) {
    area_take_dirty(area, start, end);
    for (u64 a = page_next_mapped(start, end); a < end; a = page_next_mapped(a + PAGE_SIZE, end))
        page_put(page_of(PHYSICAL_TO_VIRTUAL(page_unmap(a))));
}

int area_isolate(u64 start, u64 end) {
    int status = split_at(start);

    return status ? status : split_at(end);
}

int area_unmap_locked(u64 start, u64 end) {
    int status = area_isolate(start, end);

    if (status)
        return status;
    for (struct area *a = area_tree_after(start); a && a->start < end; a = area_tree_after(start)) {
        area_tree_remove(a);
        drop_pages(a, a->start, a->end);
        area_free(a);
    }
    page_tables_trim(start, end);
    if (start >= SEARCH_BASE && start < search_from)
        search_from = start;
    return 0;
}

static u64 find_gap(u64 from, u64 to, u64 size) {
    u64 address = from;

    for (struct area *a = area_tree_after(address); a && address + size > a->start;
         a = area_tree_after(address))
        address = a->end;
    return address + size <= to ? address : 0;
}

static u64 choose_address(u64 size, int flags) {
    if (flags & MAP_32BIT)
        return find_gap(0x1000000, LOW_SEARCH_END, size);
    u64 address = find_gap(search_from, SEARCH_END, size);
    if (!address)
        address = find_gap(SEARCH_BASE, SEARCH_END, size);
    if (address)
        search_from = address + size;
    return address;
}

// Anonymous neighbours that are alike are one area.
static bool extends(const struct area *a, u64 start, const struct area *like) {
    return a && a->end == start && !a->file && !like->file && a->protection == like->protection &&
           a->flags == like->flags && a->owner == like->owner;
}

static int add_area(const struct area *description) {
    struct area *before = description->start ? area_at(description->start - 1) : NULL;

    if (extends(before, description->start, description)) {
        before->end = description->end;
        return 0;
    }
    struct area *a = area_copy(description, description->start, description->end);
    if (!a)
        return -ENOMEM;
    area_tree_insert(a);
    return 0;
}

long area_map_locked(struct area *wanted, u64 size) {
    int flags = wanted->flags;
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    u64 address = wanted->start;

    if (fixed) {
        struct area *there = area_tree_after(address);
        if ((flags & MAP_FIXED_NOREPLACE) && there && there->start < address + size)
            return -EEXIST;
        int status = area_unmap_locked(address, address + size);
        if (status)
            return status;
    } else if (!address || !area_range_valid(address, size) ||
               find_gap(address, address + size, size) != address) {
        address = choose_address(size, flags); // the hint was empty or taken
        if (!address)
            return -ENOMEM;
    }
    wanted->start = address;
    wanted->end = address + size;
    wanted->flags &= MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | AREA_READ_ONLY;
    int status = add_area(wanted);
    return status ? status : (long)address;
}

long area_map_owned(u64 address, size_t size, int protection, int flags, struct vnode *file,
                    u64 offset, int owner) {
    struct area wanted = {
        .start = ALIGN_DOWN(address, PAGE_SIZE),
        .protection = protection,
        .flags = flags,
        .file = file,
        .offset = offset,
        .owner = owner,
    };
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);

    if (size == 0 || size > LINEAR_BASE)
        return size ? -ENOMEM : -EINVAL;
    size = ALIGN_UP(size, PAGE_SIZE);
    if (fixed && ((address & (PAGE_SIZE - 1)) || !area_range_valid(address, size)))
        return address & (PAGE_SIZE - 1) ? -EINVAL : -EPERM;
    mutex_lock(&areas_lock);
    long result = area_map_locked(&wanted, size);
    mutex_unlock(&areas_lock);
    return result;
}

long area_map(u64 address, size_t size, int protection, int flags, struct vnode *file, u64 offset) {
    return area_map_owned(address, size, protection, flags, file, offset, 0);
}

int area_unmap(u64 address, size_t size) {
    size = ALIGN_UP(size, PAGE_SIZE);
    if ((address & (PAGE_SIZE - 1)) || !area_range_valid(address, size))
        return -EINVAL;
    mutex_lock(&areas_lock);
    int status = area_unmap_locked(address, address + size);
    mutex_unlock(&areas_lock);
    return status;
}

// What the page table may allow for a page that is already there.
int area_page_protection(const struct area *a, struct page *page) {
    bool shared_with_cache = a->file && (a->flags & MAP_PRIVATE) && page->references > 1;

    return shared_with_cache ? a->protection & ~PROT_WRITE : a->protection;
}

static void protect_pages(const struct area *a, int protection) {
    for (u64 p = page_next_mapped(a->start, a->end); p < a->end;
         p = page_next_mapped(p + PAGE_SIZE, a->end)) {
        u64 physical;
        page_mapped(p, &physical, NULL);
        struct page *page = page_of(PHYSICAL_TO_VIRTUAL(physical));
        page_protect(p, protection == PROT_NONE ? PROT_NONE : area_page_protection(a, page));
    }
}

static int protect_locked(u64 start, u64 end, int protection) {
    for (u64 at = start; at < end;) { // all of it must be mapped
        struct area *a = area_at(at);
        if (!a)
            return -ENOMEM;
        if ((a->flags & AREA_READ_ONLY) && (protection & PROT_WRITE))
            return -EACCES;
        at = a->end;
    }
    int status = area_isolate(start, end);
    if (status)
        return status;
    for (struct area *a = area_tree_after(start); a && a->start < end;
         a = area_tree_after(a->end)) {
        // The file is asked again for a page that may be written now.
        if (a->file && (a->flags & MAP_SHARED) && (protection & ~a->protection & PROT_WRITE))
            drop_pages(a, a->start, a->end);
        a->protection = protection;
        protect_pages(a, protection);
    }
    return 0;
}

int area_protect(u64 address, size_t size, int protection) {
    size = ALIGN_UP(size, PAGE_SIZE);
    if (address & (PAGE_SIZE - 1))
        return -EINVAL;
    if (size == 0)
        return 0;
    if (!area_range_valid(address, size))
        return -ENOMEM;
    mutex_lock(&areas_lock);
    int status = protect_locked(address, address + size, protection);
    mutex_unlock(&areas_lock);
    return status;
}

// MADV_DONTNEED: the pages' contents are given up, the areas stay.
int area_discard(u64 address, size_t size) {
    size = ALIGN_UP(size, PAGE_SIZE);
    if ((address & (PAGE_SIZE - 1)) || !area_range_valid(address, size))
        return -EINVAL;
    mutex_lock(&areas_lock);
    for (struct area *a = area_tree_after(address); a && a->start < address + size;
         a = area_tree_after(a->end)) {
        bool only_here = !a->file && (a->flags & MAP_SHARED); // nobody else holds these contents
        if (!only_here)
            drop_pages(a, MAX(a->start, address), MIN(a->end, address + size));
    }
    mutex_unlock(&areas_lock);
    return 0;
}

void area_file_changed(const struct vnode *file, u64 start, u64 end, bool copies) {
    start = ALIGN_UP(start, PAGE_SIZE);
    mutex_lock(&areas_lock);
    for (struct area *a = area_tree_after(0); a; a = area_tree_after(a->end)) {
        u64 first = MAX(start, a->offset), last = MIN(end, a->offset + (a->end - a->start));
        if (a->file == file && first < last && (copies || (a->flags & MAP_SHARED)))
            drop_pages(a, a->start + (first - a->offset), a->start + (last - a->offset));
    }
    mutex_unlock(&areas_lock);
}

void area_collect_dirty(const struct vnode *file) {
    mutex_lock(&areas_lock);
    for (struct area *a = area_tree_after(0); a; a = area_tree_after(a->end)) {
        if (!file || a->file == file)
            area_take_dirty(a, a->start, a->end);
    }
    mutex_unlock(&areas_lock);
}

struct vnode *area_shared_file(u64 address, u64 *end) {
    struct vnode *file = NULL;

    mutex_lock(&areas_lock);
    struct area *a = area_at(address);
    if (a && (a->flags & MAP_SHARED) && a->file) {
        file = a->file;
        vnode_get(file);
    }
    *end = a ? a->end : 0;
    mutex_unlock(&areas_lock);
    return file;
}

int area_give(u64 address, size_t size, int owner) {
    u64 end = address + size;

    if ((address | end) & (PAGE_SIZE - 1) || !area_range_valid(address, size))
        return -EINVAL;
    mutex_lock(&areas_lock);
    int status = area_isolate(address, end);
    for (struct area *a = area_tree_after(address); !status && a && a->start < end;
         a = area_tree_after(a->end))
        a->owner = owner;
    mutex_unlock(&areas_lock);
    return status;
}

void areas_remove_owner(int owner) {
    mutex_lock(&areas_lock);
    u64 address = 0;
    for (struct area *a = area_tree_after(address); a; a = area_tree_after(address)) {
        address = a->end;
        if (a->owner == owner)
            area_unmap_locked(a->start, a->end);
    }
    mutex_unlock(&areas_lock);
}

void areas_each(void (*visit)(const struct area_description *, void *), void *argument) {
    char path[256];

    mutex_lock(&areas_lock);
    for (struct area *a = area_tree_after(0); a; a = area_tree_after(a->end)) {
        struct area_description d = {
            a->start,      a->end,   a->offset,
            a->protection, a->flags, a->file ? vnode_path(a->file, path, sizeof(path)) : "",
        };
        visit(&d, argument);
    }
    mutex_unlock(&areas_lock);
}
