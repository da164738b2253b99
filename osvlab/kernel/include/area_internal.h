// What the parts of memory/ share about areas.
#pragma once

#include "area.h"
#include "area_tree.h"
#include "lock.h"

struct page;

// A flag of an area: a shared mapping of a file that was not opened for writing. It stays read-only.
#define AREA_READ_ONLY 0x40000000

extern struct mutex areas_lock;

struct area *area_at(u64 address); // areas_lock held
bool area_range_valid(u64 address, u64 size);
long area_map_locked(struct area *wanted, u64 size); // as `wanted` describes it; areas_lock held
int area_unmap_locked(u64 start, u64 end);           // areas_lock held
int area_isolate(u64 start, u64 end);                // areas end there; areas_lock held
void area_take_dirty(const struct area *a, u64 start, u64 end); // tells its file
// What is mapped there, shared, with a reference, or NULL. *end: where the area ends; 0: there is none.
struct vnode *area_shared_file(u64 address, u64 *end);
int area_page_protection(const struct area *a, struct page *page);
long area_map_owned(u64 address, size_t size, int protection, int flags, struct vnode *file,
                    u64 offset, int owner);
int area_discard(u64 address, size_t size);
int area_give(u64 address, size_t size, int owner); // it is removed with that process, not another
void areas_remove_owner(int owner);
long area_resize(u64 address, size_t old_size, size_t new_size, int flags); // mremap
