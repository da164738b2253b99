// The page cache: pages of files on disk, found by (owner, inode, page index).
//
// Invariant: the cache holds one reference to every page in it. A clean page is on the list of ages;
// with no other reference it may be dropped at any time, oldest first. A dirty page is on the list
// of those, in the order in which they became so, and stays until its owner takes it from there to
// write it, or cuts it off. Nothing here sleeps or uses the heap, because
// cache_reclaim runs while memory is out, from inside the allocator, whoever called it.
// Entries are carved out of pages of their own and reused, never given back.

#include "vnode.h"

struct entry {
    struct list age; // oldest first; or the list of dirty pages, or the free list
    struct entry *chain;
    const void *owner;
    u64 inode, index;
    struct page *page;
    bool dirty;
};

#define BUCKETS_MIN 256
#define BUCKETS_MAX 32768

static struct spinlock lock = SPINLOCK("page cache");
static struct list ages = LIST(ages);
static struct list dirty = LIST(dirty);
static struct list unused = LIST(unused);
static struct entry *first_buckets[BUCKETS_MIN];
static struct entry **buckets = first_buckets;
static size_t bucket_count = BUCKETS_MIN;
static size_t entries, dirty_entries;

static struct entry **bucket(const void *owner, u64 inode, u64 index) {
    u64 hash = ((u64)(uintptr_t)owner >> 4) * 31 + inode * 0x9E3779B97F4A7C15UL +
               index * 0xC2B2AE3D27D4EB4FUL;
    return &buckets[(hash ^ hash >> 29) & (bucket_count - 1)];
}

static struct entry *find(const void *owner, u64 inode, u64 index) {
    struct entry *entry = *bucket(owner, inode, index);
    while (entry != NULL &&
           (entry->index != index || entry->inode != inode || entry->owner != owner))
        entry = entry->chain;
    return entry;
}

struct page *cache_find(const void *owner, u64 inode, u64 index) {
    u64 flags = spin_lock(&lock);
    struct entry *entry = find(owner, inode, index);
    struct page *page = entry == NULL ? NULL : entry->page;
    if (page != NULL) {
        page_get(page);
        if (!entry->dirty) {
            list_remove(&entry->age);
            list_append(&ages, &entry->age);
        }
    }
    spin_unlock(&lock, flags);
    return page;
}

static void rehash(struct list *list) {
    LIST_EACH(list, entry, struct entry, age) {
        struct entry **head = bucket(entry->owner, entry->inode, entry->index);
        entry->chain = *head;
        *head = entry;
    }
}

// More buckets when chains grow long. Keeps the old ones if there is no memory.
static void grow(void) {
    size_t count = bucket_count * 4;
    struct entry **more =
        count > BUCKETS_MAX ? NULL : pages_allocate(count * sizeof(more[0]) / PAGE_SIZE);
    if (more == NULL)
        return;
    u64 flags = spin_lock(&lock);
    struct entry **old = buckets;
    size_t old_count = bucket_count;
    if (count > old_count) {
        buckets = more;
        bucket_count = count;
        rehash(&ages);
        rehash(&dirty);
        more = old;
        count = old_count;
    }
    spin_unlock(&lock, flags);
    if (more != first_buckets)
        pages_free(more, count * sizeof(more[0]) / PAGE_SIZE);
}

// Makes one more page's worth of free entries.
static bool refill(void) {
    struct page *page = page_allocate();
    if (page == NULL)
        return false;
    struct entry *fresh = page_address(page);
    u64 flags = spin_lock(&lock);
    for (size_t i = 0; i < PAGE_SIZE / sizeof(*fresh); i++)
        list_append(&unused, &fresh[i].age);
    spin_unlock(&lock, flags);
    return true;
}

// Adds a page; the caller keeps its reference. If somebody was faster, gives theirs instead and
// drops the caller's. Without memory the page is simply not remembered.
struct page *cache_insert(const void *owner, u64 inode, u64 index, struct page *page) {
    if (entries > bucket_count * 2 && bucket_count < BUCKETS_MAX)
        grow();
    if (list_empty(&unused) && !refill())
        return page;
    u64 flags = spin_lock(&lock);
    struct entry *old = find(owner, inode, index);
    struct page *surplus = NULL;
    if (old != NULL) {
        page_get(old->page);
        surplus = page;
        page = old->page;
    } else if (!list_empty(&unused)) {
        struct entry *entry = LIST_FIRST(&unused, struct entry, age);
        list_remove(&entry->age);
        *entry = (struct entry){.owner = owner, .inode = inode, .index = index, .page = page};
        struct entry **head = bucket(owner, inode, index);
        entry->chain = *head;
        *head = entry;
        list_init(&entry->age);
        list_append(&ages, &entry->age);
        page_get(page);
        entries++;
    }
    spin_unlock(&lock, flags);
    if (surplus != NULL)
        page_put(surplus);
    return page;
}

// Takes an entry out of the table; the caller puts the page it gives.
static struct page *forget(struct entry *entry) {
    struct entry **at = bucket(entry->owner, entry->inode, entry->index);
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    list_remove(&entry->age);
    list_append(&unused, &entry->age);
    entries--;
    dirty_entries -= entry->dirty;
    return entry->page;
}

// Looks at every entry at most once, from the oldest on; pages in use go to the young end. The
// lock is given back between pages, so that interrupts are not kept off for long.
size_t cache_reclaim(size_t pages) {
    size_t done = 0;
    for (size_t looks = entries; done < pages && looks > 0; looks--) {
        struct page *victim = NULL;
        u64 flags = spin_lock(&lock);
        struct entry *oldest = LIST_FIRST(&ages, struct entry, age);
        if (oldest != NULL && oldest->page->references == 1) {
            victim = forget(oldest);
        } else if (oldest != NULL) {
            list_remove(&oldest->age);
            list_append(&ages, &oldest->age);
        }
        spin_unlock(&lock, flags);
        if (victim != NULL) {
            page_put(victim);
            done++;
        }
    }
    return done;
}

size_t cache_pages(void) {
    size_t count = 0;
    u64 flags = spin_lock(&lock);
    LIST_EACH(&ages, entry, struct entry, age)
    count += entry->page->references == 1;
    spin_unlock(&lock, flags);
    return count;
}

static bool in_cut(const struct entry *entry, const void *owner, u64 inode, u64 from) {
    return entry->owner == owner &&
           (inode == CACHE_ALL || (entry->inode == inode && entry->index >= from));
}

static struct entry *first_in_cut(struct list *list, const void *owner, u64 inode, u64 from) {
    LIST_EACH(list, entry, struct entry, age)
    if (in_cut(entry, owner, inode, from))
        return entry;
    return NULL;
}

// Where the range is small its pages are looked up; otherwise all are looked at.
size_t cache_cut(const void *owner, u64 inode, u64 from, u64 end) {
    bool few = inode != CACHE_ALL && end - from < entries;
    size_t lost = 0;
    for (;;) {
        struct page *victim = NULL;
        struct entry *entry = NULL;
        u64 flags = spin_lock(&lock);
        if (few && from < end)
            entry = find(owner, inode, from++);
        if (!few)
            entry = first_in_cut(&dirty, owner, inode, from);
        if (!few && entry == NULL)
            entry = first_in_cut(&ages, owner, inode, from);
        if (entry != NULL) {
            lost += entry->dirty;
            victim = forget(entry);
        }
        spin_unlock(&lock, flags);
        if (victim != NULL)
            page_put(victim);
        else if (!few || from >= end)
            return lost;
    }
}

// The owner is unmounted: all its pages go, except those that are mapped, which live on alone.
void cache_forget(const void *owner) {
    cache_cut(owner, CACHE_ALL, 0, 0);
}

// --- Dirty pages ---

enum cache_dirty cache_dirty(const void *owner, u64 inode, u64 index) {
    u64 flags = spin_lock(&lock);
    struct entry *entry = find(owner, inode, index);
    enum cache_dirty result = entry == NULL  ? CACHE_ABSENT
                              : entry->dirty ? CACHE_WAS_DIRTY
                                             : CACHE_IS_DIRTY;
    if (result == CACHE_IS_DIRTY) {
        entry->dirty = true;
        dirty_entries++;
        list_remove(&entry->age);
        list_append(&dirty, &entry->age);
    }
    spin_unlock(&lock, flags);
    return result;
}

size_t cache_dirty_pages(void) {
    return dirty_entries;
}

static struct page *clean(struct entry *entry) {
    entry->dirty = false;
    dirty_entries--;
    list_remove(&entry->age);
    list_append(&ages, &entry->age);
    page_get(entry->page);
    return entry->page;
}

static bool is_dirty(const struct entry *entry) {
    return entry != NULL && entry->dirty;
}

// The oldest dirty page's neighbours in its group come with it, as far as they are dirty.
size_t cache_take_dirty(const void *owner, u64 inode, size_t group, u64 *first,
                        struct page **pages) {
    u64 flags = spin_lock(&lock);
    struct entry *oldest = NULL;
    LIST_EACH(&dirty, entry, struct entry, age) {
        if (entry->owner == owner && entry->inode == inode) {
            oldest = entry;
            break;
        }
    }
    size_t count = 0;
    if (oldest != NULL) {
        u64 start = oldest->index, end = start / group * group + group;
        while (start % group != 0 && is_dirty(find(owner, inode, start - 1)))
            start--;
        *first = start;
        for (struct entry *entry; start < end && is_dirty(entry = find(owner, inode, start));
             start++)
            pages[count++] = clean(entry);
    }
    spin_unlock(&lock, flags);
    return count;
}
