// What the parts of memory/ share about areas.
#pragma once

#include "area.h"
#include "area_tree.h"
#include "lock.h"

struct page;

extern struct mutex areas_lock;

struct area *area_at(u64 address); // areas_lock held
bool area_range_valid(u64 address, u64 size);
int area_page_protection(const struct area *a, struct page *page);
long area_map_owned(u64 address, size_t size, int protection, int flags, struct vnode *file,
                    u64 offset, int owner);
int area_discard(u64 address, size_t size);
void areas_remove_owner(int owner);
long area_resize(u64 address, size_t old_size, size_t new_size, int flags); // mremap
