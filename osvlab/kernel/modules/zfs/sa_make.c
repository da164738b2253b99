// Writing system attributes: the registry and layouts that new files need, and their bonus.
//
// A layout is used again if there is one that has the same attributes in the same order. Numbers 0
// and 1 belong to two layouts that other implementations have without writing them down.

#include "dataset.h"

#define LAYOUT_FIRST 2
#define BONUS_MAX 320
#define BONUS_MAX_WITH_SPILL (BONUS_MAX - sizeof(struct blkptr))

// How values are turned on machines of the other byte order.
enum { TURN_64, TURN_32, TURN_16, TURN_8, TURN_ACL };

static const struct {
    uint8_t length, turn;
} kinds[ATTRIBUTES] = {
    [ATTRIBUTE_ACCESSED] = {16, TURN_64},  [ATTRIBUTE_MODIFIED] = {16, TURN_64},
    [ATTRIBUTE_CHANGED] = {16, TURN_64},   [ATTRIBUTE_CREATED] = {16, TURN_64},
    [ATTRIBUTE_GENERATION] = {8, TURN_64}, [ATTRIBUTE_MODE] = {8, TURN_64},
    [ATTRIBUTE_SIZE] = {8, TURN_64},       [ATTRIBUTE_PARENT] = {8, TURN_64},
    [ATTRIBUTE_LINKS] = {8, TURN_64},      [ATTRIBUTE_XATTR] = {8, TURN_64},
    [ATTRIBUTE_DEVICE] = {8, TURN_64},     [ATTRIBUTE_FLAGS] = {8, TURN_64},
    [ATTRIBUTE_OWNER] = {8, TURN_64},      [ATTRIBUTE_GROUP] = {8, TURN_64},
    [ATTRIBUTE_PADDING] = {32, TURN_64},   [ATTRIBUTE_ACL] = {88, TURN_8},
    [ATTRIBUTE_ACL_COUNT] = {8, TURN_64},  [ATTRIBUTE_LINK] = {0, TURN_8},
    [ATTRIBUTE_SCAN_STAMP] = {32, TURN_8}, [ATTRIBUTE_ACES] = {0, TURN_ACL},
};

// --- The registry

static int make_table(struct zfs_dataset *dataset, const char *name, uint8_t type,
                      uint64_t *number) {
    if (*number != 0)
        return 0;
    uint64_t made;
    int error = zap_create(dataset->set, type, &made);
    if (error < 0)
        return error;
    error = zap_add(dataset->set, dataset->sa.master, name, 8, 1, &made);
    if (error < 0)
        object_free(dataset->set, made);
    else
        *number = made;
    return error;
}

static unsigned number_for(const struct sa *sa, enum attribute attribute) {
    unsigned number = attribute;
    while (number < SA_NUMBERS && sa->registered[number])
        number++;
    return number;
}

static int register_all(struct zfs_dataset *dataset) {
    struct sa *sa = &dataset->sa;
    int error = make_table(dataset, "REGISTRY", TYPE_SA_REGISTRY, &sa->registry);
    if (error == 0)
        error = make_table(dataset, "LAYOUTS", TYPE_SA_LAYOUTS, &sa->layouts_object);
    for (unsigned i = 0; error == 0 && i < ATTRIBUTES; i++) {
        if (sa->number[i] != 255)
            continue;
        unsigned number = number_for(sa, i);
        uint64_t word = number | (uint64_t)kinds[i].turn << 16 | (uint64_t)kinds[i].length << 24;
        error = number == SA_NUMBERS ? -ENOSPC
                                     : zap_add(dataset->set, sa->registry, sa_name(i), 8, 1, &word);
        if (error == 0)
            sa_note(sa, sa_name(i), word);
    }
    return error;
}

// --- Layouts

static void number_name(unsigned number, char out[8]) {
    char digits[8];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        *out++ = digits[--count];
    *out = 0;
}

static struct sa_layout *layout_room(struct zfs_dataset *dataset) {
    struct sa *sa = &dataset->sa;
    if (sa->layout_count == sa->layout_room) {
        unsigned room = sa->layout_room * 2 + 8;
        struct sa_layout *larger = cache_allocate(dataset->pool, room * sizeof(*larger));
        if (larger == NULL)
            return NULL;
        if (sa->layouts != NULL)
            memcpy(larger, sa->layouts, sa->layout_count * sizeof(*larger));
        sa_close(dataset);
        sa->layouts = larger;
        sa->layout_room = room;
    }
    return &sa->layouts[sa->layout_count];
}

// The number of the layout with these attributes, which is made if there is none.
static int layout_number(struct zfs_dataset *dataset, const enum attribute *attributes,
                         unsigned count, unsigned *number) {
    struct sa *sa = &dataset->sa;
    uint16_t numbers[SA_LAYOUT_LENGTH];
    char name[8];
    for (unsigned i = 0; i < count; i++)
        numbers[i] = sa->number[attributes[i]];
    *number = LAYOUT_FIRST;
    for (unsigned i = 0; i < sa->layout_count; i++) {
        const struct sa_layout *layout = &sa->layouts[i];
        if (layout->count == count && memcmp(layout->attributes, numbers, 2ul * count) == 0) {
            *number = layout->number;
            return 0;
        }
        if (layout->number >= *number)
            *number = layout->number + 1u;
    }
    struct sa_layout *layout = layout_room(dataset);
    if (layout == NULL)
        return -ENOMEM;
    number_name(*number, name);
    int error = *number >= SA_LAYOUTS_MAX
                    ? -ENOSPC
                    : zap_add(dataset->set, sa->layouts_object, name, 2, count, numbers);
    if (error == 0 && sa_layout_read(sa, name, count, numbers, layout))
        sa->layout_count++;
    return error;
}

// --- Making a bonus

static unsigned length_of(const struct sa_values *values, enum attribute attribute) {
    return attribute == ATTRIBUTE_LINK   ? values->link_length
           : attribute == ATTRIBUTE_ACES ? sizeof(values->aces)
                                         : kinds[attribute].length;
}

static unsigned header_size(const enum attribute *attributes, unsigned count) {
    unsigned varying = 0;
    for (unsigned i = 0; i < count; i++)
        varying += kinds[attributes[i]].length == 0;
    return (6 + 2 * (varying > 0 ? varying : 1) + 7) & ~7u;
}

static unsigned size_of(const struct sa_values *values, const enum attribute *attributes,
                        unsigned count) {
    unsigned size = header_size(attributes, count);
    for (unsigned i = 0; i < count; i++)
        size += (length_of(values, attributes[i]) + 7) & ~7u;
    return size;
}

static void fill(const struct sa_values *values, const enum attribute *attributes, unsigned count,
                 unsigned layout, uint8_t *to) {
    unsigned at = header_size(attributes, count), varying = offsetof(struct sa_header, lengths);
    struct sa_header *header = (struct sa_header *)(void *)to;
    header->magic = SA_MAGIC;
    header->layout = (uint16_t)(at / 8 << 10 | layout);
    for (unsigned i = 0; i < count; i++) {
        enum attribute attribute = attributes[i];
        uint16_t length = (uint16_t)length_of(values, attribute);
        const void *from = attribute == ATTRIBUTE_LINK   ? (const void *)values->link
                           : attribute == ATTRIBUTE_ACES ? (const void *)values->aces
                                                         : values->word[attribute];
        if (kinds[attribute].length == 0) {
            memcpy(to + varying, &length, sizeof(length));
            varying += sizeof(length);
        }
        memcpy(to + at, from, length);
        at += (length + 7u) & ~7u;
    }
}

static int fill_spill(struct object *object, const struct sa_values *values, unsigned layout) {
    static const enum attribute link[] = {ATTRIBUTE_LINK};
    struct buffer *spill;
    int error = buffer_get(object, 0, SPILL_BLOCK, BUFFER_NEW, &spill);
    if (error < 0)
        return error;
    error = buffer_resize(spill, (size_of(values, link, 1) + 511) & ~511u);
    if (error == 0) {
        fill(values, link, 1, layout, spill->data);
        buffer_dirty(spill);
    }
    buffer_put(spill);
    return error;
}

// In the order that OSv and OpenZFS use: GRUB reads a link's target at a fixed place.
static unsigned order(const struct sa_values *values, enum attribute out[SA_LAYOUT_LENGTH]) {
    static const enum attribute first[] = {
        ATTRIBUTE_MODE,     ATTRIBUTE_SIZE,    ATTRIBUTE_GENERATION, ATTRIBUTE_OWNER,
        ATTRIBUTE_GROUP,    ATTRIBUTE_PARENT,  ATTRIBUTE_FLAGS,      ATTRIBUTE_ACCESSED,
        ATTRIBUTE_MODIFIED, ATTRIBUTE_CHANGED, ATTRIBUTE_CREATED,    ATTRIBUTE_LINKS};
    unsigned count = sizeof(first) / sizeof(first[0]);
    memcpy(out, first, sizeof(first));
    if (values->has_device)
        out[count++] = ATTRIBUTE_DEVICE;
    out[count++] = ATTRIBUTE_ACL_COUNT;
    out[count++] = ATTRIBUTE_ACES;
    if (values->link != NULL)
        out[count++] = ATTRIBUTE_LINK;
    return count;
}

// *out may have been made although it fails.
int sa_make(struct zfs_dataset *dataset, uint8_t type, const struct sa_values *values,
            struct object **out) {
    enum attribute attributes[SA_LAYOUT_LENGTH];
    unsigned count = order(values, attributes), layout = 0, spill_layout = 0;
    unsigned size = size_of(values, attributes, count);
    bool spills = size > BONUS_MAX;
    if (spills)
        size = size_of(values, attributes, --count); // without the link, which comes last
    int error = size > BONUS_MAX_WITH_SPILL && spills ? -ENAMETOOLONG : register_all(dataset);
    if (error == 0)
        error = layout_number(dataset, attributes, count, &layout);
    if (error == 0 && spills)
        error = layout_number(dataset, &(enum attribute){ATTRIBUTE_LINK}, 1, &spill_layout);
    if (error == 0)
        error = object_allocate(dataset->set, type, 0, TYPE_SA, (uint16_t)size, out);
    if (error < 0)
        return error;
    fill(values, attributes, count, layout, object_change_bonus(*out));
    if (!spills)
        return 0;
    (*out)->dnode.flags |= DNODE_SPILL;
    return fill_spill(*out, values, spill_layout);
}
