// The ordered set of areas. See area_tree.c.
#pragma once

#include "area.h"

struct area {
    u64 start, end;     // page aligned, [start, end)
    int protection;     // PROT_*
    int flags;          // MAP_*
    struct vnode *file; // NULL: anonymous
    u64 offset;         // of `start` in the file, bytes
    int owner;          // pid whose exit removes it; 0: nobody's
    struct area *left, *right;
    u32 priority;
};

void area_tree_insert(struct area *area);
void area_tree_remove(struct area *area);
struct area *area_tree_after(u64 address); // the first area that ends after `address`, or NULL
