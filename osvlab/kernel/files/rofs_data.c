// ROFS, from sectors to pages: reading through the page cache, in clusters.
//
// A request to a disk costs much more than the bytes it moves, above all in an emulated machine,
// so a miss reads the whole cluster around it that is not cached yet: one request, with one
// segment for each page. Threads that miss at once may both read; the cache keeps one page.

#include "rofs.h"

#define CLUSTER 32 // pages: 128 KiB

struct run {
    u64 first;
    size_t count;
    struct page *pages[CLUSTER];
};

static bool is_cached(struct rofs *rofs, u64 inode, u64 index) {
    struct page *page = cache_find(rofs, inode, index);
    if (page != NULL)
        page_put(page);
    return page != NULL;
}

// The uncached pages around `index`, within its cluster and the file.
static void choose(struct rofs *rofs, const struct rofs_extent *extent, u64 index,
                   struct run *run) {
    u64 low = ALIGN_DOWN(index, CLUSTER), pages = ALIGN_UP(extent->size, PAGE_SIZE) / PAGE_SIZE;
    u64 high = MIN(low + CLUSTER, pages), end = index + 1;
    run->first = index;
    while (run->first > low && !is_cached(rofs, extent->inode, run->first - 1))
        run->first--;
    while (end < high && !is_cached(rofs, extent->inode, end))
        end++;
    run->count = end - run->first;
}

// Gets pages for the run. Where memory is short the run gets shorter, down to the wanted page.
static int allocate(struct run *run, u64 index) {
    for (size_t i = 0; i < run->count; i++) {
        run->pages[i] = page_allocate();
        if (run->pages[i] != NULL)
            continue;
        if (run->first + i > index) {
            run->count = i;
            return 0;
        }
        while (i > 0)
            page_put(run->pages[--i]);
        if (run->first == index)
            return -ENOMEM;
        run->first = index;
        run->count = 1;
        i = (size_t)-1;
    }
    return 0;
}

static int transfer(struct rofs *rofs, const struct rofs_extent *extent, struct run *run) {
    struct segment segments[CLUSTER];
    u64 start = run->first * PAGE_SIZE, end = ALIGN_UP(extent->size, ROFS_BLOCK);
    for (size_t i = 0; i < run->count; i++) {
        u64 at = start + i * PAGE_SIZE;
        segments[i] = (struct segment){page_physical(run->pages[i]), (u32)MIN(PAGE_SIZE, end - at)};
    }
    int status = block_transfer(rofs->device, BLOCK_READ,
                                extent->first_sector + start / SECTOR_SIZE, segments, run->count);
    u64 last = start + run->count * PAGE_SIZE;
    if (status == 0 &&
        last > extent->size) // whatever the last block holds behind the end is not ours
        memset((u8 *)page_address(run->pages[run->count - 1]) + extent->size % PAGE_SIZE, 0,
               last - extent->size);
    return status;
}

static void release(struct run *run) {
    for (size_t i = 0; i < run->count; i++)
        page_put(run->pages[i]);
}

static int read_run(struct rofs *rofs, const struct rofs_extent *extent, struct run *run,
                    u64 index) {
    int status = allocate(run, index);
    if (status < 0)
        return status;
    status = transfer(rofs, extent, run);
    if (status < 0)
        release(run);
    return status;
}

// A page of an extent, with a reference; NULL and *error when it cannot be read.
struct page *rofs_page(struct rofs *rofs, const struct rofs_extent *extent, u64 index, int *error) {
    *error = 0;
    struct page *page = cache_find(rofs, extent->inode, index);
    if (page != NULL)
        return page;
    struct run run;
    choose(rofs, extent, index, &run);
    *error = read_run(rofs, extent, &run, index);
    if (*error < 0 && run.count > 1) { // a bad sector nearby is no reason to fail here
        run.first = index;
        run.count = 1;
        *error = read_run(rofs, extent, &run, index);
    }
    if (*error < 0) {
        if (*error != -ENOMEM)
            kprintf("rofs: cannot read page %lu of inode %lu (%s, sector %lu), error = %d\n", index,
                    extent->inode, rofs->device->name,
                    extent->first_sector + index * (PAGE_SIZE / SECTOR_SIZE), -*error);
        return NULL;
    }
    for (size_t i = 0; i < run.count; i++)
        run.pages[i] = cache_insert(rofs, extent->inode, run.first + i, run.pages[i]);
    page = run.pages[index - run.first];
    page_get(page);
    release(&run);
    return page;
}

static struct rofs_extent extent_of(struct vnode *vnode) {
    return (struct rofs_extent){vnode->inode, rofs_vnode(vnode)->data_offset, vnode->size};
}

struct page *rofs_vnode_page(struct vnode *vnode, u64 index, bool writable, int *error) {
    *error = writable ? -EACCES : vnode_is(vnode, S_IFREG) ? 0 : -ENODEV;
    if (*error < 0 || index >= ALIGN_UP(vnode->size, PAGE_SIZE) / PAGE_SIZE)
        return NULL;
    struct rofs_extent extent = extent_of(vnode);
    return rofs_page(rofs_of(vnode), &extent, index, error);
}

static long rofs_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct vnode *vnode = file->vnode;
    struct rofs_extent extent = extent_of(vnode);
    size_t done = 0;
    int status = 0;
    while (done < size && *position < vnode->size && status == 0) {
        size_t offset = *position % PAGE_SIZE;
        size_t piece = MIN(MIN(size - done, PAGE_SIZE - offset), vnode->size - *position);
        struct page *page = rofs_page(rofs_of(vnode), &extent, *position / PAGE_SIZE, &status);
        if (page == NULL)
            break;
        status = user_write((u8 *)buffer + done, (u8 *)page_address(page) + offset, piece);
        page_put(page);
        if (status == 0) {
            done += piece;
            *position += piece;
        }
    }
    return done > 0 ? (long)done : status;
}

const struct file_operations rofs_file_operations = {.read = rofs_read};
