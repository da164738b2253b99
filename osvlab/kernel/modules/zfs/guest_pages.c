// Between the page cache and ZFS: pages are filled from records, and written back as records.
//
// Invariant: bytes of a page beyond the end of its file mean nothing; they are cleared before the
// file grows over them. A page that is in the cache is newer than what ZFS has, or the same.

#include "guest.h"

u64 guest_pages_in(u64 size) {
    return size / PAGE_SIZE + (size % PAGE_SIZE != 0);
}

static bool is_cached(struct guest_mount *mount, u64 inode, u64 index) {
    struct page *page = core->cache_find(mount, inode, index);
    if (page != NULL)
        core->page_put(page);
    return page != NULL;
}

// How many pages from *first on are to be read for the sake of `index`: those of its record that
// are not there yet, without a gap.
static size_t choose(struct node *node, u64 index, u64 *first) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    u64 inode = node->vnode.inode, low = index - index % node->run;
    u64 high = MIN(low + node->run, guest_pages_in(node->vnode.size)), end = index + 1;
    *first = index;
    while (*first > low && !is_cached(mount, inode, *first - 1))
        --*first;
    while (end < high && !is_cached(mount, inode, end))
        end++;
    return end - *first;
}

// With fresh pages from *first on in pool->pages. Where memory is short it is the wanted one alone.
static size_t allocate(struct guest_pool *pool, size_t count, u64 index, u64 *first) {
    for (size_t i = 0; i < count; i++) {
        pool->pages[i] = core->page_allocate();
        if (pool->pages[i] != NULL)
            continue;
        while (i > 0)
            core->page_put(pool->pages[--i]);
        if (count == 1)
            return 0;
        *first = index;
        return allocate(pool, 1, index, first);
    }
    return count;
}

// What ZFS does not have lies behind the end of its file: nothing of that was written back yet.
static int read_run(struct node *node, u64 first, size_t count) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    struct guest_pool *pool = mount->pool;
    u8 *run = count == 1 ? core->page_address(pool->pages[0]) : pool->run;
    long got =
        zfs_read(mount->dataset, node->vnode.inode, first * PAGE_SIZE, run, count * PAGE_SIZE);
    if (got < 0)
        return (int)got;
    for (size_t i = 0; i < count && count > 1; i++) {
        size_t at = i * PAGE_SIZE, piece = (size_t)got > at ? MIN((size_t)got - at, PAGE_SIZE) : 0;
        memcpy(core->page_address(pool->pages[i]), run + at, piece);
    }
    return 0;
}

// With the vnode locked, so that nobody truncates the file meanwhile.
static struct page *fill(struct node *node, u64 index, int *error) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    struct guest_pool *pool = mount->pool;
    u64 first;
    size_t count = choose(node, index, &first);
    *error = guest_enter(mount);
    if (*error < 0)
        return NULL;
    count = allocate(pool, count, index, &first);
    *error = count == 0 ? -ENOMEM : read_run(node, first, count);
    struct page *page = NULL;
    for (size_t i = 0; i < count; i++) {
        struct page *one = pool->pages[i];
        if (*error == 0)
            one = core->cache_insert(mount, node->vnode.inode, first + i, one);
        if (*error == 0 && first + i == index)
            page = one;
        else
            core->page_put(one);
    }
    guest_leave(mount);
    if (*error < 0 && *error != -ENOMEM)
        core->kprintf("[zfs] cannot read page %lu of object %lu, error = %d\n", index,
                      node->vnode.inode, -*error);
    return page;
}

struct page *guest_page(struct vnode *vnode, u64 index, bool writable, int *error) {
    struct guest_mount *mount = guest_mount_of(vnode);
    *error = vnode_is(vnode, S_IFREG) ? 0 : -ENODEV;
    if (*error < 0 || index >= guest_pages_in(core->vnode_size(vnode)))
        return NULL;
    struct page *page = core->cache_find(mount, vnode->inode, index);
    if (page != NULL)
        return page;
    core->mutex_lock(&vnode->lock);
    page = core->cache_find(mount, vnode->inode, index); // somebody was faster
    if (page == NULL && index < guest_pages_in(vnode->size))
        page = fill(node_of(vnode), index, error);
    // One that is not remembered would be written to in vain.
    if (page != NULL && writable && !is_cached(mount, vnode->inode, index)) {
        core->page_put(page);
        page = NULL;
        *error = -ENOMEM;
    }
    core->mutex_unlock(&vnode->lock);
    return page;
}

// A page of a large file takes a whole record, which others of the same record then do not.
static void promise(struct node *node, u64 index) {
    u64 run = index / node->run, bytes = PAGE_SIZE;
    if (node->vnode.size > node->run * PAGE_SIZE)
        bytes = run == node->promised ? 0 : node->run * PAGE_SIZE;
    node->promised = run;
    __atomic_add_fetch(&guest_mount_of(&node->vnode)->pool->promised, bytes, __ATOMIC_RELAXED);
}

bool guest_dirty(struct vnode *vnode, u64 index) {
    enum cache_dirty dirty = core->cache_dirty(guest_mount_of(vnode), vnode->inode, index);
    if (dirty == CACHE_IS_DIRTY) {
        __atomic_add_fetch(&node_of(vnode)->dirty_pages, 1, __ATOMIC_RELAXED);
        promise(node_of(vnode), index);
    }
    return dirty != CACHE_ABSENT;
}

void guest_cut(struct vnode *vnode, u64 from, u64 end) {
    size_t lost = core->cache_cut(guest_mount_of(vnode), vnode->inode, from, end);
    __atomic_sub_fetch(&node_of(vnode)->dirty_pages, (int)lost, __ATOMIC_RELAXED);
}

void guest_dirtied(struct vnode *vnode, u64 index) {
    if (!guest_dirty(vnode, index))
        return; // it was cut off
    core->vnode_touch(vnode);
    guest_mark(vnode);
}

void guest_clear_tail(struct vnode *vnode, u64 from, u64 end) {
    end = MIN(end, ALIGN_UP(from, PAGE_SIZE));
    struct page *page =
        from < end ? core->cache_find(guest_mount_of(vnode), vnode->inode, from / PAGE_SIZE) : NULL;
    if (page == NULL)
        return;
    memset((u8 *)core->page_address(page) + from % PAGE_SIZE, 0, end - from);
    core->page_put(page);
}

// --- Writing back

static int give(struct guest_mount *mount, u64 inode, u64 offset, const u8 *data, size_t size) {
    struct guest_pool *pool = mount->pool;
    bool tried = false;
    while (size > 0) {
        long taken = zfs_write(mount->dataset, inode, offset, data, size);
        if (taken > 0) {
            offset += (u64)taken;
            data += taken;
            size -= (size_t)taken;
            pool->given += (u64)taken;
        } else if (!guest_again(pool, (int)taken, &tried)) {
            return (int)taken;
        }
    }
    return 0;
}

int guest_give(struct vnode *vnode, u64 offset, const u8 *data, size_t size) {
    struct guest_mount *mount = guest_mount_of(vnode);
    int status = mount->pool->error;
    if (status == 0)
        status = give(mount, vnode->inode, offset, data, size);
    return status == 0 ? guest_keep_bound(mount->pool) : status;
}

// One run of dirty pages. 0: there was none; 1: it is written; or an error.
static int write_run(struct node *node) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    struct guest_pool *pool = mount->pool;
    u64 first, size = node->vnode.size;
    if (node->dirty_pages == 0) // which saves looking at all that are
        return 0;
    size_t count = core->cache_take_dirty(mount, node->vnode.inode, node->run, &first, pool->pages);
    __atomic_sub_fetch(&node->dirty_pages, (int)count, __ATOMIC_RELAXED);
    node->promised = UINT64_MAX; // what comes after is another promise
    u64 offset = first * PAGE_SIZE;
    u64 bytes = count > 0 && size > offset ? MIN(size - offset, count * PAGE_SIZE) : 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(pool->run + i * PAGE_SIZE, core->page_address(pool->pages[i]), PAGE_SIZE);
        core->page_put(pool->pages[i]);
    }
    if (bytes == 0)
        return count > 0;
    node->touched = true; // ZFS takes the time of this for the time of the change
    int status = guest_give(&node->vnode, offset, pool->run, bytes);
    return status < 0 ? status : 1;
}

static int write_times(struct node *node) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    struct zfs_attributes values = {.modified = node->vnode.modified};
    if (!node->touched)
        return 0;
    node->touched = false;
    return guest_set(mount, node->vnode.inode, ZFS_SET_MODIFIED, &values);
}

// After an error what was dirty is lost, as it is to every disk that fails; who asks hears of it.
int guest_write_back(struct node *node) {
    struct guest_mount *mount = guest_mount_of(&node->vnode);
    int result = 0, status;
    do {
        core->mutex_lock(&node->vnode.lock);
        status = guest_enter(mount);
        if (status == 0) {
            status = write_run(node);
            if (status == 0)
                result = result < 0 ? result : write_times(node);
            guest_leave(mount);
        }
        core->mutex_unlock(&node->vnode.lock);
        if (status < 0 && result == 0)
            result = status;
    } while (status != 0 && mount->dataset != NULL);
    if (result < 0 && __atomic_exchange_n(&node->error, result, __ATOMIC_RELAXED) == 0)
        core->kprintf("[zfs] object %lu cannot be written, error = %d\n", node->vnode.inode,
                      -result);
    return result;
}

int guest_truncate(struct vnode *vnode, u64 size) {
    struct guest_mount *mount = guest_mount_of(vnode);
    if (size > INT64_MAX)
        return -EFBIG;
    core->mutex_lock(&vnode->lock);
    bool tried = false;
    int status = guest_enter(mount);
    if (status == 0) {
        do
            status = zfs_truncate(mount->dataset, vnode->inode, size);
        while (guest_again(mount->pool, status, &tried));
        guest_leave(mount);
    }
    if (status == 0) {
        u64 old = vnode->size;
        vnode->size = size;
        if (size < old)
            guest_cut(vnode, guest_pages_in(size), guest_pages_in(old));
        guest_clear_tail(vnode, MIN(size, old), UINT64_MAX);
    }
    core->mutex_unlock(&vnode->lock);
    if (status == 0)
        guest_mark(vnode);
    return status;
}
