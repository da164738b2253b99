// An ordered set of areas that do not overlap: a treap (Seidel & Aragon 1996).
//
// Invariant: in-order, areas ascend by address; every area's priority is at least that of its
// children. Priorities are random, so the expected depth is logarithmic.

#include "area_tree.h"

static struct area *root;

static u32 next_priority(void) { // xorshift32 (Marsaglia 2003)
    static u32 state = 0x9e3779b9;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

// Cuts `tree` into the areas below `address` and the rest.
static void split(struct area *tree, u64 address, struct area **below, struct area **rest) {
    if (!tree) {
        *below = *rest = NULL;
    } else if (tree->start < address) {
        split(tree->right, address, &tree->right, rest);
        *below = tree;
    } else {
        split(tree->left, address, below, &tree->left);
        *rest = tree;
    }
}

// All of `below` lies below all of `rest`.
static struct area *join(struct area *below, struct area *rest) {
    if (!below || !rest)
        return below ? below : rest;
    if (below->priority >= rest->priority) {
        below->right = join(below->right, rest);
        return below;
    }
    rest->left = join(below, rest->left);
    return rest;
}

void area_tree_insert(struct area *area) {
    struct area *below, *rest;

    area->left = area->right = NULL;
    area->priority = next_priority();
    split(root, area->start, &below, &rest);
    root = join(join(below, area), rest);
}

void area_tree_remove(struct area *area) {
    struct area **place = &root;

    while (*place != area)
        place = area->start < (*place)->start ? &(*place)->left : &(*place)->right;
    *place = join(area->left, area->right);
}

struct area *area_tree_after(u64 address) {
    struct area *best = NULL;

    for (struct area *a = root; a;) {
        if (a->end > address) {
            best = a;
            a = a->left;
        } else {
            a = a->right;
        }
    }
    return best;
}
