// Reading and writing files, by way of the page cache.
//
// The application's memory is touched with no lock but the open file's held: what it copies from or
// to may be a page of this very file that is not there yet.

#include "guest.h"

static long guest_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct vnode *vnode = file->vnode;
    size_t done = 0;
    int status = 0;
    while (done < size && status == 0) {
        u64 at = *position, end = core->vnode_size(vnode);
        if (at >= end)
            break;
        size_t piece = MIN(MIN(size - done, PAGE_SIZE - at % PAGE_SIZE), end - at);
        struct page *page = guest_page(vnode, at / PAGE_SIZE, false, &status);
        if (page == NULL)
            break;
        status = core->user_write((u8 *)buffer + done,
                                  (u8 *)core->page_address(page) + at % PAGE_SIZE, piece);
        core->page_put(page);
        if (status == 0) {
            done += piece;
            *position += piece;
        }
    }
    return done > 0 ? (long)done : status;
}

// The page to be written to. A fresh one, not in the cache yet, where nothing of the old is kept.
static struct page *page_to_write(struct vnode *vnode, u64 at, size_t piece, bool *fresh,
                                  int *error) {
    struct guest_mount *mount = guest_mount_of(vnode);
    u64 start = at - at % PAGE_SIZE;
    *error = 0;
    struct page *page = core->cache_find(mount, vnode->inode, at / PAGE_SIZE);
    *fresh = page == NULL && (piece == PAGE_SIZE || start >= core->vnode_size(vnode));
    if (*fresh) {
        page = core->page_allocate();
        *error = page == NULL ? -ENOMEM : 0;
    } else if (page == NULL) {
        page = guest_page(vnode, at / PAGE_SIZE, true, error);
    }
    return page;
}

// The bytes are in the page: now they are the file's.
static int adopt(struct vnode *vnode, struct page **page, bool fresh, u64 at, size_t piece) {
    struct guest_mount *mount = guest_mount_of(vnode);
    size_t from = at % PAGE_SIZE;
    int status = 0;
    core->mutex_lock(&vnode->lock);
    if (fresh) {
        struct page *other = core->cache_find(mount, vnode->inode, at / PAGE_SIZE);
        if (other != NULL) { // somebody was faster: theirs stays, with these bytes in it
            memcpy((u8 *)core->page_address(other) + from, (u8 *)core->page_address(*page) + from,
                   piece);
            core->page_put(*page);
            *page = other;
        } else {
            *page = core->cache_insert(mount, vnode->inode, at / PAGE_SIZE, *page);
        }
    }
    if (at > vnode->size)
        guest_clear_tail(vnode, vnode->size, at);
    vnode->size = MAX(vnode->size, at + piece);
    if (!guest_dirty(vnode, at / PAGE_SIZE)) {
        status = guest_enter(mount); // it is not remembered, so it cannot wait
        if (status == 0) {
            status = guest_give(vnode, at, (u8 *)core->page_address(*page) + from, piece);
            guest_leave(mount);
        }
    }
    core->mutex_unlock(&vnode->lock);
    return status;
}

// When the pool is nearly full nothing is promised: what ZFS does not take now is not written.
static int write_through(struct vnode *vnode, u64 at, u64 old_size) {
    int status = guest_write_back(node_of(vnode));
    if (status == 0)
        return 0;
    __atomic_store_n(&node_of(vnode)->error, 0, __ATOMIC_RELAXED); // it is told at once
    guest_cut(vnode, at / PAGE_SIZE, at / PAGE_SIZE + 1);
    if (core->vnode_size(vnode) > old_size)
        guest_truncate(vnode, old_size);
    return status;
}

static int write_piece(struct vnode *vnode, u64 at, const u8 *from, size_t piece) {
    bool fresh;
    int status;
    struct page *page = page_to_write(vnode, at, piece, &fresh, &status);
    if (page == NULL)
        return status < 0 ? status : -EIO;
    u64 old_size = core->vnode_size(vnode);
    status = core->user_read((u8 *)core->page_address(page) + at % PAGE_SIZE, from, piece);
    if (status == 0)
        status = adopt(vnode, &page, fresh, at, piece);
    else if (!fresh && at + piece > old_size)
        guest_clear_tail(vnode, MAX(at, old_size), at + piece);
    core->page_put(page);
    if (status == 0) {
        core->vnode_touch(vnode);
        guest_mark(vnode);
    }
    return status;
}

// A writer who is faster than the disk waits for it here.
static int keep_bounds(struct guest_mount *mount) {
    if (core->cache_dirty_pages() <= guest_dirty_bound())
        return 0;
    return guest_sync(mount->pool);
}

static long guest_write(struct file *file, const void *buffer, size_t size, u64 *position) {
    struct vnode *vnode = file->vnode;
    struct guest_mount *mount = guest_mount_of(vnode);
    if (mount->mount->read_only) // the pool has failed since it was opened
        return -EROFS;
    if (*position > INT64_MAX - size)
        return -EFBIG;
    u64 ends = 2 * node_of(vnode)->run * PAGE_SIZE; // of which little may be written
    bool scarce = !guest_room(mount, size + ends);
    size_t done = 0;
    int status = 0;
    while (done < size && status == 0) {
        u64 at = *position, old_size = core->vnode_size(vnode);
        size_t piece = MIN(size - done, PAGE_SIZE - at % PAGE_SIZE);
        status = write_piece(vnode, at, (const u8 *)buffer + done, piece);
        if (status == 0 && scarce)
            status = write_through(vnode, at, old_size);
        if (status == 0) {
            done += piece;
            *position += piece;
        }
        if (status == 0 && *position % RUN_SIZE == 0)
            status = keep_bounds(mount);
    }
    if (status == 0)
        status = keep_bounds(mount);
    if (done > 0 && vnode->mode & (S_ISUID | S_ISGID)) {
        vnode->mode &= ~(u32)(S_ISUID | S_ISGID);
        vnode->operations->changed(vnode);
    }
    return done > 0 ? (long)done : status;
}

// --- fallocate

enum { KEEP_SIZE = 1, PUNCH_HOLE = 2, ZERO_RANGE = 16 };

// Zeros take the place of what is there; they are not stored where records are compressed. Holes are
// passed over: they may be larger than any disk.
static int write_zeros(struct vnode *vnode, u64 from, u64 end) {
    static const u8 zeros[PAGE_SIZE];
    bool look = true;
    int status = 0;
    while (from < end && status == 0) {
        if (look)
            status = vnode->operations->seek(vnode, &from, false);
        if (status < 0 || from >= end)
            return status == -ENXIO ? 0 : status; // there is nothing more
        size_t piece = MIN(end - from, PAGE_SIZE - from % PAGE_SIZE);
        status = write_piece(vnode, from, zeros, piece);
        from += piece;
        look = from % RUN_SIZE == 0;
        if (status == 0 && look)
            status = keep_bounds(guest_mount_of(vnode));
    }
    return status;
}

// Blocks are never written in place, so none can be kept for later: all that can be said is whether
// there is room now.
int guest_allocate(struct vnode *vnode, int mode, u64 offset, u64 length) {
    u64 end = offset + length, size = core->vnode_size(vnode);
    if (end < offset || end > INT64_MAX)
        return -EFBIG;
    if (mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE) || (mode & PUNCH_HOLE && !(mode & KEEP_SIZE)))
        return -EOPNOTSUPP;
    int status = 0;
    if (mode & (PUNCH_HOLE | ZERO_RANGE))
        status = write_zeros(vnode, MIN(offset, size), MIN(end, size));
    else if (!guest_room(guest_mount_of(vnode), length))
        status = -ENOSPC;
    if (status == 0 && !(mode & KEEP_SIZE) && end > size)
        status = guest_truncate(vnode, end);
    return status;
}

const struct file_operations guest_file_operations = {.read = guest_read, .write = guest_write};
