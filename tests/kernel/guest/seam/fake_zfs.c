// Stands in for ZFS behind zfs.h, for tests of the kernel's file layer and of the glue to it: files
// are in memory, and a sync writes all of them to one of the two halves of the disk, by turns.
//
// An empty disk is a pool "osv" with the datasets osv, osv/zfs and osv/data.

#include "zfs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define OBJECTS 2048
#define DATASETS 3
#define MAGIC 0xfa4e05
#define STATE_EXPORTED 1
#define NAME 256
#define SPARE (1UL << 20) // for what is not data

struct entry {
    struct entry *next;
    uint64_t object, cookie;
    size_t length;
    char name[NAME];
};

struct object {
    struct zfs_attributes a;
    bool doomed;
    uint8_t *data; // of a file; the target of a link
    size_t room;
    struct entry *entries;
    uint64_t next_cookie;
};

struct zfs_dataset {
    char name[32];
    struct object *objects[OBJECTS];
    struct zfs_pool *pool;
};

struct zfs_pool {
    struct zfs_disk *disk;
    struct zfs_dataset *datasets[DATASETS];
    uint64_t txg, dirty, used;
    bool changed, read_only;
};

struct header {
    uint64_t magic, txg, state, size, sum;
    uint64_t padding[59];
};

const struct zfs_services *zfs_services;
static const char *const names[DATASETS] = {"osv", "osv/zfs", "osv/data"};

static void change(struct zfs_dataset *d, uint64_t bytes) {
    d->pool->changed = true;
    d->pool->dirty += bytes;
}

static struct object *object_of(const struct zfs_dataset *d, uint64_t number) {
    return number < OBJECTS ? d->objects[number] : NULL;
}

static struct object *make(struct zfs_dataset *d, uint64_t number, uint32_t mode) {
    struct object *o = zfs_services->allocate(sizeof(*o));
    uint64_t now = zfs_services->now();
    if (o == NULL)
        return NULL;
    o->a = (struct zfs_attributes){.mode = mode, .links = 1, .record = 131072};
    o->a.accessed = o->a.modified = o->a.changed = o->a.created = now;
    o->next_cookie = 1;
    d->objects[number] = o;
    return o;
}

// Space is taken by a file's size; that what is freed needs a sync is beyond this.
static bool resize(struct zfs_dataset *d, struct object *o, uint64_t size) {
    if (size > o->a.size && d->pool->used + (size - o->a.size) > d->pool->disk->size / 2 - SPARE)
        return false;
    d->pool->used += size - o->a.size;
    o->a.size = size;
    return true;
}

static bool grow(struct object *o, uint64_t size) {
    if (size <= o->room)
        return true;
    size_t room = (size + (size < 1 << 20 ? size : 1 << 20) + 4095) / 4096 * 4096;
    uint8_t *data = zfs_services->allocate(room);
    if (data == NULL)
        return false;
    if (o->data != NULL) {
        memcpy(data, o->data, o->room);
        zfs_services->free(o->data, o->room);
    }
    o->data = data;
    o->room = room;
    return true;
}

static void destroy(struct zfs_dataset *d, uint64_t number) {
    struct object *o = d->objects[number];
    for (struct entry *e = o->entries, *next; e != NULL; e = next) {
        next = e->next;
        zfs_services->free(e, sizeof(*e));
    }
    if (o->data != NULL)
        zfs_services->free(o->data, o->room);
    d->pool->used -= o->data == NULL ? 0 : o->a.size;
    zfs_services->free(o, sizeof(*o));
    d->objects[number] = NULL;
}

// --- To the disk and back, through a buffer of one block

struct stream {
    struct zfs_pool *pool;
    uint64_t start, at, sum;
    bool write;
    int error;
    uint8_t block[4096];
};

static void transfer(struct stream *s) {
    struct zfs_disk *disk = s->pool->disk;
    uint64_t offset = s->start + s->at - s->at % sizeof(s->block);
    if (s->error == 0)
        s->error = s->write ? disk->write(disk, offset, s->block, sizeof(s->block))
                            : disk->read(disk, offset, s->block, sizeof(s->block));
}

static void bytes(struct stream *s, void *data, size_t size) {
    for (size_t i = 0; i < size; i++, s->at++) {
        if (!s->write && s->at % sizeof(s->block) == 0)
            transfer(s);
        uint8_t *byte = &s->block[s->at % sizeof(s->block)];
        *(s->write ? byte : (uint8_t *)data + i) = *(s->write ? (uint8_t *)data + i : byte);
        s->sum = (s->sum ^ *byte) * 1099511628211UL;
        if (s->write && s->at % sizeof(s->block) == sizeof(s->block) - 1)
            transfer(s);
    }
}

static void entries(struct stream *s, struct object *o) {
    uint64_t count = 0;
    for (struct entry *e = o->entries; e != NULL; e = e->next)
        count++;
    bytes(s, &count, sizeof(count));
    struct entry **at = &o->entries;
    for (uint64_t i = 0; i < count && s->error == 0; i++) {
        if (!s->write)
            *at = zfs_services->allocate(sizeof(struct entry));
        struct entry *next = s->write ? (*at)->next : NULL;
        bytes(s, *at, sizeof(struct entry));
        (*at)->next = next;
        at = &(*at)->next;
    }
}

static void object(struct stream *s, struct zfs_dataset *d, uint64_t number) {
    struct object *o = d->objects[number];
    bytes(s, &o->a, sizeof(o->a));
    bytes(s, &o->doomed, sizeof(o->doomed));
    bytes(s, &o->next_cookie, sizeof(o->next_cookie));
    uint64_t size = o->data == NULL ? 0 : o->a.size;
    bytes(s, &size, sizeof(size));
    if (!s->write && size > 0 && !grow(o, size))
        s->error = -ENOMEM;
    s->pool->used += s->write ? 0 : size;
    if (s->error == 0)
        bytes(s, o->data, size);
    entries(s, o);
}

static void everything(struct stream *s) {
    for (int d = 0; d < DATASETS; d++) {
        struct zfs_dataset *dataset = s->pool->datasets[d];
        for (uint64_t n = 1; n <= OBJECTS && s->error == 0; n++) {
            while (s->write && n < OBJECTS && dataset->objects[n] == NULL)
                n++;
            bytes(s, &n, sizeof(n));
            if (n < OBJECTS && (s->write || make(dataset, n, 0) != NULL))
                object(s, dataset, n);
        }
    }
}

static struct stream *stream_on(struct zfs_pool *pool, uint64_t txg, bool write) {
    struct stream *s = zfs_services->allocate(sizeof(*s));
    if (s != NULL) {
        s->pool = pool;
        s->start = txg % 2 * (pool->disk->size / 2 / 4096 * 4096) + 4096;
        s->write = write;
    }
    return s;
}

static int header(struct zfs_pool *pool, uint64_t txg, struct header *h, bool write) {
    uint64_t offset = txg % 2 * (pool->disk->size / 2 / 4096 * 4096);
    return write ? pool->disk->write(pool->disk, offset, h, sizeof(*h))
                 : pool->disk->read(pool->disk, offset, h, sizeof(*h));
}

static int write_all(struct zfs_pool *pool, uint64_t state) {
    struct stream *s = stream_on(pool, ++pool->txg, true);
    if (s == NULL)
        return -ENOMEM;
    everything(s);
    uint64_t size = s->at;
    if (s->at % sizeof(s->block) != 0)
        transfer(s);
    int status = s->error;
    struct header *h = (struct header *)s->block;
    *h = (struct header){MAGIC, pool->txg, state, size, s->sum, {0}};
    if (status == 0)
        status = pool->disk->flush(pool->disk);
    if (status == 0)
        status = header(pool, pool->txg, h, true);
    if (status == 0)
        status = pool->disk->flush(pool->disk);
    zfs_services->free(s, sizeof(*s));
    pool->changed = false;
    pool->dirty = 0;
    return status;
}

static int read_all(struct zfs_pool *pool) {
    struct header h[2] = {0};
    int status = header(pool, 0, &h[0], false);
    if (status == 0)
        status = header(pool, 1, &h[1], false);
    int best = h[1].magic == MAGIC && h[1].txg > h[0].txg;
    if (status < 0 || h[best].magic != MAGIC)
        return status < 0 ? status : -ENOENT;
    struct stream *s = stream_on(pool, h[best].txg, false);
    if (s == NULL)
        return -ENOMEM;
    everything(s);
    status = s->error < 0 ? s->error : s->sum != h[best].sum ? -EIO : 0;
    pool->txg = h[best].txg;
    zfs_services->free(s, sizeof(*s));
    return status;
}

// --- Pools

int zfs_import(struct zfs_disk *disks, unsigned count, unsigned flags, struct zfs_pool **out) {
    struct zfs_pool *pool = zfs_services->allocate(sizeof(*pool));
    if (pool == NULL || count != 1)
        return -ENOMEM;
    pool->disk = disks;
    pool->read_only = flags & ZFS_READ_ONLY;
    for (int i = 0; i < DATASETS; i++) {
        pool->datasets[i] = zfs_services->allocate(sizeof(struct zfs_dataset));
        pool->datasets[i]->pool = pool;
        strcpy(pool->datasets[i]->name, names[i]);
    }
    int status = read_all(pool);
    for (int i = 0; i < DATASETS; i++) {
        if (status == -ENOENT)
            make(pool->datasets[i], 1, S_IFDIR | 0755)->a.links = 2;
        for (uint64_t n = 1; n < OBJECTS; n++)
            if (pool->datasets[i]->objects[n] != NULL && pool->datasets[i]->objects[n]->doomed)
                destroy(pool->datasets[i], n);
    }
    *out = pool;
    return status == -ENOENT ? 0 : status;
}

// A disk that fails is one with a file called "broken" on it.
static bool is_broken(struct zfs_pool *pool) {
    uint64_t number;
    return zfs_lookup(pool->datasets[0], 1, "broken", 6, &number) == 0;
}

int zfs_sync(struct zfs_pool *pool) {
    return is_broken(pool) ? -EIO : write_all(pool, 0);
}
int zfs_export(struct zfs_pool *pool) {
    int status = write_all(pool, STATE_EXPORTED);
    zfs_abandon(pool);
    return status;
}
void zfs_abandon(struct zfs_pool *pool) {
    for (int i = 0; i < DATASETS; i++) {
        for (uint64_t n = 1; n < OBJECTS; n++)
            if (pool->datasets[i]->objects[n] != NULL)
                destroy(pool->datasets[i], n);
        zfs_services->free(pool->datasets[i], sizeof(struct zfs_dataset));
    }
    zfs_services->free(pool, sizeof(*pool));
}
uint64_t zfs_dirty_bytes(const struct zfs_pool *pool) {
    return pool->dirty;
}
bool zfs_needs_sync(const struct zfs_pool *pool) {
    return pool->changed;
}
const char *zfs_pool_name(const struct zfs_pool *pool) {
    (void)pool;
    return "osv";
}
const char *zfs_read_only_reason(const struct zfs_pool *pool) {
    return pool->read_only ? "it was asked for" : NULL;
}
const char *zfs_dataset_read_only_reason(const struct zfs_dataset *dataset) {
    return zfs_read_only_reason(dataset->pool);
}
void zfs_trim(struct zfs_pool *pool) {
    (void)pool;
}

int zfs_dataset_open(struct zfs_pool *pool, const char *name, struct zfs_dataset **out) {
    for (int i = 0; i < DATASETS; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = pool->datasets[i];
            return 0;
        }
    return -ENOENT;
}
void zfs_dataset_close(struct zfs_dataset *dataset) {
    (void)dataset;
}
uint64_t zfs_root(const struct zfs_dataset *dataset) {
    (void)dataset;
    return 1;
}
void zfs_space(const struct zfs_dataset *dataset, struct zfs_space *out) {
    uint64_t total = dataset->pool->disk->size / 2 - SPARE;
    *out = (struct zfs_space){total, dataset->pool->used, total - dataset->pool->used, 0};
}

// --- Files

int zfs_attributes(struct zfs_dataset *d, uint64_t number, struct zfs_attributes *out) {
    struct object *o = object_of(d, number);
    if (o == NULL)
        return -ENOENT;
    *out = o->a;
    out->stored = o->room;
    return 0;
}

int zfs_set_attributes(struct zfs_dataset *d, uint64_t number, unsigned which,
                       const struct zfs_attributes *values) {
    struct object *o = object_of(d, number);
    if (o == NULL)
        return -ENOENT;
    o->a.mode = which & ZFS_SET_MODE ? values->mode : o->a.mode;
    o->a.owner = which & ZFS_SET_OWNER ? values->owner : o->a.owner;
    o->a.group = which & ZFS_SET_GROUP ? values->group : o->a.group;
    o->a.accessed = which & ZFS_SET_ACCESSED ? values->accessed : o->a.accessed;
    o->a.modified = which & ZFS_SET_MODIFIED ? values->modified : o->a.modified;
    o->a.changed = zfs_services->now();
    change(d, 0);
    return 0;
}

long zfs_read(struct zfs_dataset *d, uint64_t number, uint64_t offset, void *buffer, size_t size) {
    struct object *o = object_of(d, number);
    if (o == NULL)
        return -ENOENT;
    if (offset >= o->a.size)
        return 0;
    size = size < o->a.size - offset ? size : o->a.size - offset;
    size_t there = o->room <= offset ? 0 : o->room - offset < size ? o->room - offset : size;
    if (there > 0)
        memcpy(buffer, o->data + offset, there);
    memset((uint8_t *)buffer + there, 0, size - there);
    return (long)size;
}

long zfs_write(struct zfs_dataset *d, uint64_t number, uint64_t offset, const void *data,
               size_t size) {
    struct object *o = object_of(d, number);
    if (o == NULL)
        return -ENOENT;
    if (!grow(o, offset + size))
        return -ENOMEM;
    if (offset + size > o->a.size && !resize(d, o, offset + size))
        return -ENOSPC;
    memcpy(o->data + offset, data, size);
    o->a.modified = zfs_services->now();
    change(d, size);
    return (long)size;
}

int zfs_truncate(struct zfs_dataset *d, uint64_t number, uint64_t size) {
    struct object *o = object_of(d, number);
    if (o == NULL)
        return -ENOENT;
    if (!grow(o, size))
        return -ENOMEM;
    if (size < o->a.size)
        memset(o->data + size, 0, o->a.size - size);
    if (!resize(d, o, size))
        return -ENOSPC;
    change(d, 0);
    return 0;
}

int zfs_seek_data(struct zfs_dataset *d, uint64_t number, uint64_t *offset, bool hole) {
    struct object *o = object_of(d, number);
    for (; *offset < o->a.size; *offset = *offset / 4096 * 4096 + 4096) {
        uint64_t end = *offset / 4096 * 4096 + 4096;
        bool zeros = true;
        for (uint64_t i = *offset; i < end && i < o->room; i++)
            zeros &= o->data[i] == 0;
        if (zeros == hole)
            return 0;
    }
    *offset = o->a.size;
    return hole ? 0 : -ENXIO;
}

long zfs_read_link(struct zfs_dataset *d, uint64_t number, char *out, size_t size) {
    struct object *o = object_of(d, number);
    size = size < o->a.size ? size : o->a.size;
    memcpy(out, o->data, size);
    return (long)size;
}

// --- Names

static struct entry **find(struct object *directory, const char *name, size_t length) {
    struct entry **at = &directory->entries;
    while (*at != NULL && ((*at)->length != length || memcmp((*at)->name, name, length) != 0))
        at = &(*at)->next;
    return at;
}

int zfs_lookup(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length,
               uint64_t *out) {
    struct object *o = object_of(d, directory);
    struct entry *e = o == NULL ? NULL : *find(o, name, length);
    if (e == NULL)
        return -ENOENT;
    *out = e->object;
    return 0;
}

int zfs_read_directory(struct zfs_dataset *d, uint64_t directory, uint64_t position,
                       struct zfs_reader *reader) {
    for (struct entry *e = object_of(d, directory)->entries; e != NULL; e = e->next)
        if (e->cookie > position &&
            !reader->entry(reader, e->cookie, e->object, object_of(d, e->object)->a.mode >> 12,
                           e->name, e->length))
            break;
    return 0;
}

static int enter(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length,
                 uint64_t number) {
    struct object *o = object_of(d, directory);
    struct entry **at = find(o, name, length);
    if (*at != NULL)
        return -EEXIST;
    struct entry *e = zfs_services->allocate(sizeof(*e));
    if (e == NULL)
        return -ENOMEM;
    memcpy(e->name, name, length);
    e->length = length;
    e->object = number;
    e->cookie = o->next_cookie++;
    *at = e;
    o->a.size++;
    o->a.modified = zfs_services->now();
    change(d, sizeof(*e));
    return 0;
}

static void leave(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length) {
    struct object *o = object_of(d, directory);
    struct entry **at = find(o, name, length), *e = *at;
    *at = e->next;
    o->a.size--;
    o->a.modified = zfs_services->now();
    zfs_services->free(e, sizeof(*e));
    change(d, 0);
}

int zfs_create(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length,
               const struct zfs_new *new, uint64_t *out) {
    uint64_t number = 2;
    while (number < OBJECTS && d->objects[number] != NULL)
        number++;
    if (number == OBJECTS)
        return -ENOSPC;
    if (*find(object_of(d, directory), name, length) != NULL)
        return -EEXIST;
    struct object *o = make(d, number, new->mode);
    if (o == NULL)
        return -ENOMEM;
    o->a.owner = new->owner;
    o->a.group = new->group;
    o->a.device = new->device;
    o->a.parent = directory;
    if (S_ISDIR(new->mode)) {
        o->a.links = 2;
        object_of(d, directory)->a.links++;
    }
    if (new->target != NULL)
        zfs_write(d, number, 0, new->target, strlen(new->target));
    *out = number;
    return enter(d, directory, name, length, number);
}

int zfs_link(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length,
             uint64_t number) {
    int status = enter(d, directory, name, length, number);
    object_of(d, number)->a.links += status == 0;
    return status;
}

static void unlink_object(struct zfs_dataset *d, uint64_t directory, uint64_t number, bool in_use) {
    struct object *o = object_of(d, number);
    if (S_ISDIR(o->a.mode)) {
        object_of(d, directory)->a.links--;
        o->a.links = 0;
    } else {
        o->a.links--;
    }
    o->doomed = o->a.links == 0;
    if (o->doomed && !in_use)
        destroy(d, number);
}

int zfs_remove(struct zfs_dataset *d, uint64_t directory, const char *name, size_t length,
               bool in_use) {
    uint64_t number;
    int status = zfs_lookup(d, directory, name, length, &number);
    if (status == 0 && object_of(d, number)->entries != NULL)
        status = -ENOTEMPTY;
    if (status < 0)
        return status;
    leave(d, directory, name, length);
    unlink_object(d, directory, number, in_use);
    return 0;
}

int zfs_forget(struct zfs_dataset *d, uint64_t number) {
    if (object_of(d, number) == NULL || !object_of(d, number)->doomed)
        return -EINVAL;
    destroy(d, number);
    change(d, 0);
    return 0;
}

int zfs_rename(struct zfs_dataset *d, uint64_t from, const char *old_name, size_t old_length,
               uint64_t to, const char *new_name, size_t new_length, bool replaced_in_use) {
    uint64_t number, replaced;
    int status = zfs_lookup(d, from, old_name, old_length, &number);
    if (status < 0)
        return status;
    if (zfs_lookup(d, to, new_name, new_length, &replaced) == 0) {
        status = zfs_remove(d, to, new_name, new_length, replaced_in_use);
        if (status < 0)
            return status;
    }
    leave(d, from, old_name, old_length);
    status = enter(d, to, new_name, new_length, number);
    if (status == 0 && S_ISDIR(object_of(d, number)->a.mode) && from != to) {
        object_of(d, from)->a.links--;
        object_of(d, to)->a.links++;
    }
    return status;
}

int zfs_dataset_create(struct zfs_pool *pool, const char *name) {
    (void)pool, (void)name;
    return -ENOTSUP;
}
int zfs_format(struct zfs_disk *disk, const struct zfs_format *format) {
    (void)disk, (void)format;
    return -ENOTSUP;
}
