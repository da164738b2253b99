// Pools with damage that checksums do not show. An image is a private copy for each input; what its
// blocks hold is changed when they have been read and unpacked, and checksums are not judged, as if
// who did the damage had set them right: otherwise fuzzing would end at the first one.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "steps.h"
#include "zfs.h"

enum { DAMAGE_KINDS = 8, STEP_KINDS = 17 };

static inline unsigned step_kind(const struct step *step) {
    return step->what % STEP_KINDS;
}
static inline bool step_is_damage(const struct step *step) {
    return step_kind(step) < DAMAGE_KINDS;
}

size_t pools_open(const char *names); // image files, divided by colons; how many there are
// A pool's disk as it is in its file, with the damage that is among the steps.
struct zfs_disk *pool_disk(size_t which, const struct step *steps, size_t count);
// After so many more, the disk fails, a checksum is wrong; < 0: never.
void pool_fails_after(long transfers, long checksums);
// The largest piece of free space, as if it were fragmented; 0: as it is.
void pool_largest_piece(uint64_t size);
// What is read in between are the blocks that steps can damage from then on.
void pool_discover(bool on);
