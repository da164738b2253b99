// System attributes: what ZPL 5 keeps in bonus buffers, in an order that a layout tells.
//
// A set has a registry (name to number and length) and layouts (number to a list of attributes).
// A bonus begins with the number of its layout and the lengths of those that vary; what does not
// fit goes on in the spill block, with a header and a layout of its own. An attribute starts at a
// multiple of 8.
//
// Invariant: a layout in memory has attributes that are registered only.
//
// Specified in: OpenZFS, sys/sa_impl.h.

#include "dataset.h"

static const char *const names[ATTRIBUTES] = {
    "ZPL_ATIME", "ZPL_MTIME",      "ZPL_CTIME",   "ZPL_CRTIME",    "ZPL_GEN",
    "ZPL_MODE",  "ZPL_SIZE",       "ZPL_PARENT",  "ZPL_LINKS",     "ZPL_XATTR",
    "ZPL_RDEV",  "ZPL_FLAGS",      "ZPL_UID",     "ZPL_GID",       "ZPL_PAD",
    "ZPL_ACL",   "ZPL_DACL_COUNT", "ZPL_SYMLINK", "ZPL_SCANSTAMP", "ZPL_DACL_ACES"};

// --- The registry and the layouts

const char *sa_name(enum attribute attribute) {
    return names[attribute];
}

void sa_note(struct sa *sa, const char *name, uint64_t registered) {
    unsigned number = registered & 0xffff;
    if (number >= SA_NUMBERS)
        return;
    sa->registered[number] = true;
    sa->length[number] = registered >> 24 & 0xffff;
    for (unsigned i = 0; i < ATTRIBUTES; i++)
        if (strcmp(name, names[i]) == 0) {
            sa->number[i] = (uint8_t)number;
            sa->attribute[number] = (uint8_t)i;
        }
}

static bool visit_registered(void *argument, uint64_t next, const char *name, unsigned integer_size,
                             unsigned count, const void *value) {
    uint64_t word;
    (void)next;
    if (integer_size == 8 && count == 1) {
        memcpy(&word, value, sizeof(word));
        sa_note(argument, name, word);
    }
    return true;
}

static void layout_place(const struct sa *sa, struct sa_layout *layout) {
    unsigned at = 0;
    memset(layout->fixed, 0xff, sizeof(layout->fixed));
    for (unsigned i = 0; i < layout->count; i++) {
        unsigned number = layout->attributes[i];
        if (sa->length[number] == 0)
            break;
        if (sa->attribute[number] < ATTRIBUTES)
            layout->fixed[sa->attribute[number]] = (uint16_t)at;
        at += (sa->length[number] + 7u) & ~7u;
    }
}

bool sa_layout_read(const struct sa *sa, const char *name, unsigned count, const void *value,
                    struct sa_layout *layout) {
    unsigned number = 0;
    for (; *name >= '0' && *name <= '9' && number < SA_LAYOUTS_MAX; name++)
        number = number * 10 + (unsigned)(*name - '0');
    if (*name != 0 || number >= SA_LAYOUTS_MAX || count > SA_LAYOUT_LENGTH)
        return false;
    layout->number = (uint16_t)number;
    layout->count = (uint16_t)count;
    memcpy(layout->attributes, value, count * sizeof(layout->attributes[0]));
    for (unsigned i = 0; i < count; i++)
        if (layout->attributes[i] >= SA_NUMBERS || !sa->registered[layout->attributes[i]])
            return false;
    layout_place(sa, layout);
    return true;
}

// A layout that is not understood is left out: only files that have it cannot be read.
static bool visit_layout(void *argument, uint64_t next, const char *name, unsigned integer_size,
                         unsigned count, const void *value) {
    struct sa *sa = argument;
    (void)next;
    if (sa->layout_count < sa->layout_room && integer_size == 2 &&
        sa_layout_read(sa, name, count, value, &sa->layouts[sa->layout_count]))
        sa->layout_count++;
    return true;
}

static int load_layouts(struct zfs_dataset *dataset) {
    struct sa *sa = &dataset->sa;
    uint64_t count;
    int error = zap_count(dataset->set, sa->layouts_object, &count);
    if (error < 0)
        return error;
    sa->layout_room = (count < SA_LAYOUTS_MAX ? (unsigned)count : SA_LAYOUTS_MAX) + 8;
    sa->layouts = cache_allocate(dataset->pool, sa->layout_room * sizeof(sa->layouts[0]));
    if (sa->layouts == NULL)
        return -ENOMEM;
    return zap_each(dataset->set, sa->layouts_object, 0, visit_layout, sa);
}

int sa_open(struct zfs_dataset *dataset, uint64_t master) {
    struct sa *sa = &dataset->sa;
    memset(sa->number, 0xff, sizeof(sa->number));
    memset(sa->attribute, 0xff, sizeof(sa->attribute));
    sa->master = master;
    int error = zap_lookup(dataset->set, master, "REGISTRY", 8, 1, &sa->registry);
    if (error == 0)
        error = zap_each(dataset->set, sa->registry, 0, visit_registered, sa);
    if (error == 0)
        error = zap_lookup(dataset->set, master, "LAYOUTS", 8, 1, &sa->layouts_object);
    if (error == 0)
        error = load_layouts(dataset);
    return error == -ENOENT ? 0 : error; // a set without files has neither
}

void sa_close(struct zfs_dataset *dataset) {
    struct sa *sa = &dataset->sa;
    if (sa->layouts != NULL)
        zfs_services->free(sa->layouts, sa->layout_room * sizeof(sa->layouts[0]));
    sa->layouts = NULL;
}

const struct sa_layout *sa_layout(const struct sa *sa, unsigned number) {
    for (unsigned i = 0; i < sa->layout_count; i++)
        if (sa->layouts[i].number == number)
            return &sa->layouts[i];
    return NULL;
}

// --- Finding an attribute

// In a header with its attributes, `size` bytes altogether.
static int find_in(const struct sa *sa, uint8_t *bytes, unsigned size, enum attribute attribute,
                   struct place *place) {
    struct sa_header *header = (struct sa_header *)(void *)bytes;
    if (size < sizeof(*header) || header->magic != SA_MAGIC)
        return -EIO;
    unsigned at = header->layout >> 10 << 3, varying = 0;
    unsigned lengths = at < 8 || at > size ? 0 : (at - 6) / 2;
    const struct sa_layout *layout = sa_layout(sa, header->layout & 0x3ff);
    if (layout == NULL || lengths == 0)
        return -EIO;
    if (layout->fixed[attribute] != SA_NOWHERE) {
        place->at = bytes + at + layout->fixed[attribute];
        place->length = sa->length[sa->number[attribute]];
        return at + layout->fixed[attribute] + place->length <= size ? 0 : -EIO;
    }
    for (unsigned i = 0; i < layout->count; i++) {
        unsigned number = layout->attributes[i], length = sa->length[number];
        if (length == 0 && varying >= lengths)
            return -EIO;
        if (length == 0)
            memcpy(&length, bytes + offsetof(struct sa_header, lengths) + 2 * varying++, 2);
        if (at + length > size)
            return -EIO;
        if (sa->attribute[number] == attribute) {
            place->at = bytes + at;
            place->length = length;
            return 0;
        }
        at += (length + 7) & ~7u;
    }
    return -ENOENT;
}

int sa_find(struct zfs_dataset *dataset, struct object *object, enum attribute attribute,
            struct place *place) {
    place->spill = NULL;
    uint8_t *bonus = dnode_bonus(&object->dnode);
    int error = find_in(&dataset->sa, bonus, object->dnode.bonus_length, attribute, place);
    if (error == -ENOENT && object->dnode.flags & DNODE_SPILL) {
        struct buffer *spill;
        error = buffer_get(object, 0, SPILL_BLOCK, BUFFER_READ, &spill);
        if (error < 0)
            return error;
        error = find_in(&dataset->sa, spill->data, spill->size, attribute, place);
        if (error == 0)
            place->spill = spill;
        else
            buffer_put(spill);
    }
    if (error == -EIO)
        zfs_report("object %lu has attributes that are not as their layout says", object->number);
    return error;
}
