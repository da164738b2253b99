// Slabs: regions cut into blocks of one size. See heap.h.
//
// Invariant: a slab is in its size's list if, and only if, it has a free block or room for one.
// The last slab of a size is kept when it is empty, so that a program that frees and takes one
// block in turns does not map and unmap a slab each time.

#include "heap.h"

static struct region *with_room[SIZES];

static void link_slab(struct region *slab, unsigned index) {
    slab->next = with_room[index];
    slab->link = &with_room[index];
    if (slab->next)
        slab->next->link = &slab->next;
    with_room[index] = slab;
}

static void unlink_slab(struct region *slab) {
    *slab->link = slab->next;
    if (slab->next)
        slab->next->link = slab->link;
    slab->link = NULL;
}

static bool has_room(const struct region *slab) {
    return slab->free || slab->fresh + slab->size <= REGION_SIZE;
}

static struct region *create(unsigned index) {
    struct region *slab = region_create(REGION_SIZE, 0, 1);
    if (!slab)
        return NULL;
    u32 size = (u32)size_at(index);
    slab->tag = TAG + index;
    slab->zero = false;
    slab->size = size;
    slab->inverse = UINT32_MAX / size + 1;
    slab->fresh = ((u32)sizeof(*slab) + size - 1) / size * size;
    link_slab(slab, index);
    return slab;
}

static struct block *take_one(struct region *slab) {
    struct block *block = slab->free;
    if (block) {
        slab->free = block->next;
    } else {
        block = (struct block *)((char *)slab + slab->fresh);
        slab->fresh += slab->size;
    }
    slab->used++;
    if (!has_room(slab))
        unlink_slab(slab);
    return block;
}

struct block *slab_take(unsigned index, unsigned count, unsigned *taken) {
    struct block *list = NULL;
    if (!with_room[index] && !create(index))
        return NULL;
    for (*taken = 0; *taken < count && with_room[index]; ++*taken) {
        struct block *block = take_one(with_room[index]);
        block->next = list;
        list = block;
    }
    return list;
}

static void give_one(struct block *block) {
    struct region *slab = region_of(block);
    block->next = slab->free;
    slab->free = block;
    slab->used--;
    if (!slab->link)
        link_slab(slab, slab->tag - TAG);
    else if (!slab->used && (slab->next || slab->link != &with_room[slab->tag - TAG])) {
        unlink_slab(slab);
        region_release(slab);
    }
}

void slab_give(struct block *list) {
    while (list) {
        struct block *block = list;
        list = block->next;
        give_one(block);
    }
}
