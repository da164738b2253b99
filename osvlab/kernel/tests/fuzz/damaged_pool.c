// Damaged pools: see damaged_pool.h.

#include "damaged_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blocks.h"
#include "fuzz.h"
#include "label.h"

enum { POOLS_MAX = 8, PLACES_MAX = 1000, TABLE = 4096 };

static const struct step *steps;
static size_t step_count;

// --- Images, each with the places where damage can be: blocks, by the address in their pointers

static struct source {
    struct zfs_disk disk;
    int file;
    uint8_t *data; // private, and anew for each input
    size_t place_count;
    struct place {
        uint64_t key;
        size_t number; // 0: none is here
    } places[TABLE];   // by hash
} sources[POOLS_MAX], *source;
static size_t source_count;
static bool discovering;
static long transfers_left = -1; // until the disk fails; < 0: it does not
static long checksums_left = -1; // until one is wrong; < 0: none is
static uint64_t largest_piece;   // of free space; 0: as it is

enum { CONFIGURATION, UBERBLOCK, FIRST_BLOCK }; // the first places

static int memory_read(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    must(offset <= disk->size && size <= disk->size - offset);
    if (transfers_left >= 0 && transfers_left-- == 0)
        return -EIO;
    memcpy(buffer, source->data + offset, size);
    return 0;
}

static int memory_write(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    must(offset <= disk->size && size <= disk->size - offset);
    if (transfers_left >= 0 && transfers_left-- == 0)
        return -EIO;
    memcpy(source->data + offset, data, size);
    return 0;
}

static int memory_flush(struct zfs_disk *disk) {
    (void)disk;
    return 0;
}

static void open_image(const char *name) {
    struct stat info;
    must(source_count < POOLS_MAX);
    source = &sources[source_count++];
    source->file = open(name, O_RDONLY);
    must(source->file >= 0 && fstat(source->file, &info) == 0);
    source->disk = (struct zfs_disk){(uint64_t)info.st_size, memory_read, memory_write,
                                     memory_flush, "damaged"};
}

size_t pools_open(const char *names) {
    char *copy = strdup(names), *rest = copy, *name;
    must(copy != NULL);
    while ((name = strsep(&rest, ":")) != NULL)
        open_image(name);
    free(copy);
    return source_count;
}

struct zfs_disk *pool_disk(size_t which, const struct step *damage, size_t count) {
    source = &sources[which % source_count];
    steps = damage;
    step_count = count;
    transfers_left = checksums_left = -1;
    largest_piece = 0;
    if (source->data != NULL)
        munmap(source->data, source->disk.size);
    source->data =
        mmap(NULL, source->disk.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, source->file, 0);
    must(source->data != MAP_FAILED);
    return &source->disk;
}

void pool_fails_after(long transfers, long checksums) {
    transfers_left = transfers;
    checksums_left = checksums;
}

void pool_largest_piece(uint64_t size) {
    largest_piece = size;
}

void pool_discover(bool on) {
    discovering = on;
    if (on)
        source->place_count = FIRST_BLOCK;
    else
        must(source->place_count > 20);
}

static struct place *place_of(uint64_t key) {
    uint64_t hash = key * 0x9e3779b97f4a7c15 >> 52;
    while (source->places[hash].number != 0 && source->places[hash].key != key)
        hash = (hash + 1) % TABLE;
    return &source->places[hash];
}

static void discover(const struct blkptr *pointer) {
    bool file_data = pointer_bits(pointer, 48, 8) == 19 && pointer_bits(pointer, 56, 5) == 0;
    uint64_t key = pointer->dva[0].word1;
    struct place *place = place_of(key);
    if (!file_data && key != 0 && place->number == 0 && source->place_count < PLACES_MAX)
        *place = (struct place){key, source->place_count++};
}

// --- Damage

static void damage_at(const struct step *step, uint8_t *data, size_t size) {
    size_t width = (size_t)1 << (step->how & 3), at = step->at % size / width * width;
    uint64_t value = 0;
    memcpy(&value, data + at, width);
    switch (step->how >> 2 & 3) {
    case 0:
        value = step->value;
        break;
    case 1:
        value += step->value;
        break;
    case 2:
        value ^= step->value;
        break;
    default: // a part of it is there twice
        width = (size_t)1 << (step->how >> 4 & 7);
        at = step->at % size;
        if (at + width <= size && step->other % size + width <= size)
            memmove(data + at, data + step->other % size, width);
        return;
    }
    memcpy(data + at, &value, width);
}

static void damage(size_t place, uint8_t *data, size_t size) {
    for (size_t i = 0; i < step_count; i++)
        if (step_is_damage(&steps[i]) && steps[i].block % source->place_count == place)
            damage_at(&steps[i], data, size);
}

// The linker puts these in between.
int __real_block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer,
                      size_t size);
int __wrap_block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer,
                      size_t size);
int __wrap_block_read(struct zfs_pool *pool, const struct blkptr *pointer, void *buffer,
                      size_t size) {
    int status = __real_block_read(pool, pointer, buffer, size);
    if (status == 0 && discovering)
        discover(pointer);
    const struct place *place = place_of(pointer->dva[0].word1);
    if (status == 0 && place->number != 0)
        damage(place->number, buffer, size);
    return status;
}

int __real_config_parse(struct zfs_pool *pool, const struct nvlist *config);
int __wrap_config_parse(struct zfs_pool *pool, const struct nvlist *config);
int __wrap_config_parse(struct zfs_pool *pool, const struct nvlist *config) {
    damage(CONFIGURATION, (uint8_t *)config->data, 1200);
    return __real_config_parse(pool, config);
}

int __real_label_candidate(struct zfs_pool *pool, struct uberblock *out);
int __wrap_label_candidate(struct zfs_pool *pool, struct uberblock *out);
int __wrap_label_candidate(struct zfs_pool *pool, struct uberblock *out) {
    int status = __real_label_candidate(pool, out);
    if (status == 0)
        damage(UBERBLOCK, (uint8_t *)out, sizeof(*out));
    return status;
}

int __real_space_allocate(struct zfs_pool *pool, unsigned copy, uint64_t size, uint64_t *offset);
int __wrap_space_allocate(struct zfs_pool *pool, unsigned copy, uint64_t size, uint64_t *offset);
int __wrap_space_allocate(struct zfs_pool *pool, unsigned copy, uint64_t size, uint64_t *offset) {
    if (largest_piece > 0 && size > largest_piece)
        return -ENOSPC;
    return __real_space_allocate(pool, copy, size, offset);
}

// Checksums are right, as if who did the damage had seen to that, and cost nothing.
static bool checksum_is_right(void) {
    return checksums_left < 0 || checksums_left-- > 0;
}
bool __wrap_checksum_equal(const uint64_t one[4], const uint64_t other[4]);
bool __wrap_checksum_equal(const uint64_t one[4], const uint64_t other[4]) {
    (void)one, (void)other;
    return checksum_is_right();
}
bool __wrap_checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]);
bool __wrap_checksum_embedded_right(void *region, size_t size, const uint64_t verifier[4]) {
    (void)region, (void)size, (void)verifier;
    return checksum_is_right();
}
int __wrap_checksum_compute(unsigned kind, const void *data, size_t size, uint64_t out[4]);
int __wrap_checksum_compute(unsigned kind, const void *data, size_t size, uint64_t out[4]) {
    (void)data, (void)size;
    memset(out, 0, 4 * sizeof(*out));
    return kind >= CHECKSUM_OFF && kind <= CHECKSUM_SHA256 ? 0 : -ENOTSUP;
}
void __wrap_checksum_sha256(const void *data, size_t size, uint64_t out[4]);
void __wrap_checksum_sha256(const void *data, size_t size, uint64_t out[4]) {
    (void)data, (void)size;
    memset(out, 0, 4 * sizeof(*out));
}
