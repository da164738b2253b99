// Areas of the application's address space: what mmap made, paged in on demand.
#pragma once

#include "base.h"
#include "list.h"

struct vnode;
struct process;

// mmap etc. for the kernel itself (the linker stratum uses the system calls).
// Protection and flags are those of <sys/mman.h>. Returns the address or -errno.
long area_map(u64 address, size_t size, int protection, int flags, struct vnode *file, u64 offset);
int area_unmap(u64 address, size_t size);
int area_protect(u64 address, size_t size, int protection);
// The file's pages from `start` to `end` are gone: who has mapped them looks again. `copies`: also
// who has private ones.
void area_file_changed(const struct vnode *file, u64 start, u64 end, bool copies);

// Tells files which of their pages were written to through shared mappings: that one, or all.
void area_collect_dirty(const struct vnode *file);

// One area, for /proc/self/maps.
struct area_description {
    u64 start, end, offset;
    int protection, flags;
    const char *name; // path, "[stack]"... or ""
};
void areas_each(void (*visit)(const struct area_description *, void *), void *argument);
