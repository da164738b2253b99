// ramfs, the contents of files: pages from the allocator.
//
// Invariant: bytes beyond the size are zero in every page, so growing a file needs no clearing.
// The same pages serve read, write and mmap: a MAP_SHARED mapping is the file.

#include "ramfs.h"

#define SIZE_LIMIT ((u64)1 << 42)

static u64 used_bytes, limit;

static void give_back(u64 bytes) {
    __atomic_sub_fetch(&used_bytes, bytes, __ATOMIC_RELAXED);
}

static bool charge(u64 bytes) {
    if (limit == 0) {
        struct memory_statistics memory;
        memory_statistics(&memory);
        limit = memory.total / 4 * 3;
    }
    if (__atomic_add_fetch(&used_bytes, bytes, __ATOMIC_RELAXED) <= limit)
        return true;
    give_back(bytes);
    return false;
}

// An object takes more than its bytes: the heap rounds up, a name is kept a second time by its
// vnode, and hash tables grow with the names. Twice its size covers all of that.
static u64 cost(size_t size) {
    return 2 * size;
}

void *ramfs_allocate_object(size_t size) {
    if (!charge(cost(size)))
        return NULL;
    void *object = kzalloc(size);
    if (object == NULL)
        give_back(cost(size));
    return object;
}

void ramfs_free_object(void *object, size_t size) {
    kfree(object);
    give_back(cost(size));
}

void ramfs_statistics(struct mount *mount, struct statfs *out) {
    (void)mount;
    u64 used = __atomic_load_n(&used_bytes, __ATOMIC_RELAXED);
    struct memory_statistics memory;
    memory_statistics(&memory);
    out->f_blocks = limit / PAGE_SIZE;
    out->f_bfree = out->f_bavail =
        MIN(limit - MIN(used, limit), memory.free + memory.cache) / PAGE_SIZE;
    out->f_files = out->f_ffree = out->f_bfree;
}

static struct page *charged_page(void) {
    if (!charge(PAGE_SIZE))
        return NULL;
    struct page *page = page_allocate();
    if (page == NULL)
        give_back(PAGE_SIZE);
    return page;
}

static void put_charged_page(struct page *page) {
    page_put(page);
    give_back(PAGE_SIZE);
}

// Makes the array of chunks long enough for one more.
static bool grow_chunks(struct ramfs_node *node, u64 chunk) {
    size_t count = MAX((size_t)4, node->chunk_count);
    while (count <= chunk)
        count *= 2;
    struct page ***chunks = krealloc(node->chunks, count * sizeof(chunks[0]));
    if (chunks == NULL)
        return false;
    memset(chunks + node->chunk_count, 0, (count - node->chunk_count) * sizeof(chunks[0]));
    node->chunks = chunks;
    node->chunk_count = count;
    return true;
}

// The slot of a page, making what leads to it if `make`. NULL: there is none (or no memory).
static struct page **slot_of(struct ramfs_node *node, u64 index, bool make) {
    if (index < DIRECT_PAGES)
        return &node->direct[index];
    u64 chunk = index / CHUNK_PAGES;
    if (chunk >= node->chunk_count && (!make || !grow_chunks(node, chunk)))
        return NULL;
    if (node->chunks[chunk] == NULL) {
        struct page *page = make ? charged_page() : NULL;
        if (page == NULL)
            return NULL;
        node->chunks[chunk] = page_address(page);
    }
    return &node->chunks[chunk][index % CHUNK_PAGES];
}

static struct page *page_locked(struct ramfs_node *node, u64 index, bool make) {
    struct page **slot = slot_of(node, index, make);
    if (slot == NULL)
        return NULL;
    if (*slot == NULL && make) {
        *slot = charged_page();
        node->pages += *slot != NULL;
    }
    return *slot;
}

// A hole that is only read needs a page too, since it may be mapped: it becomes a real one.
struct page *ramfs_page(struct vnode *vnode, u64 index, bool writable, int *error) {
    (void)writable;
    *error = 0;
    mutex_lock(&vnode->lock);
    struct page *page = NULL;
    if (index < ALIGN_UP(vnode->size, PAGE_SIZE) / PAGE_SIZE) {
        page = page_locked(ramfs_node(vnode), index, true);
        if (page == NULL)
            *error = -ENOMEM;
        else
            page_get(page);
    }
    mutex_unlock(&vnode->lock);
    return page;
}

static void free_page(struct ramfs_node *node, u64 index) {
    struct page **slot = slot_of(node, index, false);
    if (slot == NULL || *slot == NULL)
        return;
    put_charged_page(*slot);
    *slot = NULL;
    node->pages--;
}

// Frees the pages from `first` to before `last`, skipping holes a chunk at a time, and the chunks
// that are empty then.
static void free_pages(struct ramfs_node *node, u64 first, u64 last) {
    for (u64 i = first; i < MIN(last, (u64)DIRECT_PAGES); i++)
        free_page(node, i);
    last = MIN(last, node->chunk_count * CHUNK_PAGES);
    for (u64 i = first, end; i < last; i = end) {
        u64 chunk = i / CHUNK_PAGES, start = chunk * CHUNK_PAGES;
        end = MIN(last, start + CHUNK_PAGES);
        if (node->chunks[chunk] == NULL)
            continue;
        for (u64 k = i; k < end; k++)
            free_page(node, k);
        if (i == start && end == start + CHUNK_PAGES) {
            put_charged_page(page_of(node->chunks[chunk]));
            node->chunks[chunk] = NULL;
        }
    }
}

// Zeroes a piece of one page, if the page is there.
static void clear_piece(struct ramfs_node *node, u64 start, u64 end) {
    struct page **slot = slot_of(node, start / PAGE_SIZE, false);
    if (slot != NULL && *slot != NULL && start < end)
        memset((char *)page_address(*slot) + start % PAGE_SIZE, 0, end - start);
}

int ramfs_truncate(struct vnode *vnode, u64 size) {
    if (size > SIZE_LIMIT)
        return -EFBIG;
    struct ramfs_node *node = ramfs_node(vnode);
    mutex_lock(&vnode->lock);
    if (size < vnode->size) {
        u64 page_end = ALIGN_UP(size, PAGE_SIZE);
        clear_piece(node, size, page_end);
        free_pages(node, page_end / PAGE_SIZE, UINT64_MAX);
    }
    vnode->size = size;
    mutex_unlock(&vnode->lock);
    return 0;
}

// fallocate(2): reserves pages, or punches a hole.
int ramfs_allocate(struct vnode *vnode, int mode, u64 offset, u64 length) {
    enum { KEEP_SIZE = 1, PUNCH_HOLE = 2, ZERO_RANGE = 16 };
    u64 end = offset + length;
    if (end < offset || end > SIZE_LIMIT)
        return -EFBIG;
    if (mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE) || (mode & PUNCH_HOLE && !(mode & KEEP_SIZE)))
        return -EOPNOTSUPP;
    struct ramfs_node *node = ramfs_node(vnode);
    int status = 0;
    mutex_lock(&vnode->lock);
    if (mode & (PUNCH_HOLE | ZERO_RANGE)) {
        u64 first = ALIGN_UP(offset, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE);
        if (first <= last) {
            clear_piece(node, offset, first);
            free_pages(node, first / PAGE_SIZE, last / PAGE_SIZE);
            clear_piece(node, last, end);
        } else {
            clear_piece(node, offset, end);
        }
    } else {
        for (u64 i = offset / PAGE_SIZE; i * PAGE_SIZE < end && status == 0; i++)
            if (page_locked(node, i, true) == NULL)
                status = -ENOSPC;
        if (status < 0) // what lies beyond the end would never be seen, but keep its memory
            free_pages(node, ALIGN_UP(vnode->size, PAGE_SIZE) / PAGE_SIZE, UINT64_MAX);
    }
    if (status == 0 && !(mode & KEEP_SIZE) && end > vnode->size)
        vnode->size = end;
    mutex_unlock(&vnode->lock);
    return status;
}

u64 ramfs_blocks(struct vnode *vnode) {
    return vnode_is(vnode, S_IFREG) ? ramfs_node(vnode)->pages * (PAGE_SIZE / 512) : 0;
}

void ramfs_free_data(struct ramfs_node *node) {
    free_pages(node, 0, UINT64_MAX);
    kfree(node->chunks);
}

// --- read and write ---

static long file_read_ramfs(struct file *file, void *buffer, size_t size, u64 *position) {
    struct vnode *vnode = file->vnode;
    size_t done = 0;
    while (done < size) {
        u64 at = *position + done, end = vnode_size(vnode);
        if (at >= end)
            break;
        size_t piece = MIN(MIN(size - done, PAGE_SIZE - at % PAGE_SIZE), end - at);
        mutex_lock(&vnode->lock);
        struct page *page = page_locked(ramfs_node(vnode), at / PAGE_SIZE, false);
        if (page != NULL)
            page_get(page);
        mutex_unlock(&vnode->lock);
        int status;
        if (page != NULL) {
            status = user_write((char *)buffer + done, (char *)page_address(page) + at % PAGE_SIZE,
                                piece);
            page_put(page);
        } else {
            status = user_clear((char *)buffer + done, piece);
        }
        if (status < 0) {
            *position += done;
            return done > 0 ? (long)done : status;
        }
        done += piece;
    }
    *position += done;
    return (long)done;
}

// One piece within one page. The data goes in before the size grows over it.
static int write_piece(struct vnode *vnode, u64 at, const char *from, size_t size) {
    mutex_lock(&vnode->lock);
    struct page *page = page_locked(ramfs_node(vnode), at / PAGE_SIZE, true);
    if (page != NULL)
        page_get(page);
    mutex_unlock(&vnode->lock);
    if (page == NULL)
        return -ENOSPC;
    char *data = (char *)page_address(page) + at % PAGE_SIZE;
    int status = user_read(data, from, size);
    mutex_lock(&vnode->lock);
    if (status == 0)
        vnode->size = MAX(vnode->size, at + size);
    else if (at + size > vnode->size) // a half-copied piece must not show up later
        clear_piece(ramfs_node(vnode), MAX(at, vnode->size), at + size);
    mutex_unlock(&vnode->lock);
    page_put(page);
    return status;
}

static long file_write_ramfs(struct file *file, const void *buffer, size_t size, u64 *position) {
    struct vnode *vnode = file->vnode;
    if (*position >= SIZE_LIMIT)
        return -EFBIG;
    size = MIN(size, SIZE_LIMIT - *position);
    size_t done = 0;
    int status = 0;
    while (done < size && status == 0) {
        u64 at = *position + done;
        size_t piece = MIN(size - done, PAGE_SIZE - at % PAGE_SIZE);
        status = write_piece(vnode, at, (const char *)buffer + done, piece);
        if (status == 0)
            done += piece;
    }
    if (done > 0) {
        vnode_touch(vnode);
        vnode->mode &= ~(u32)(S_ISUID | S_ISGID);
    }
    *position += done;
    return done > 0 ? (long)done : status;
}

const struct file_operations ramfs_file_operations = {.read = file_read_ramfs,
                                                      .write = file_write_ramfs};
