// Reading cpio archives, format newc (cpio(5)): per record a header of 110 ASCII characters (the
// magic number and 13 fields of 8 hexadecimal digits), the name with its NUL, the data; header
// with name and the data are each filled up to 4 bytes. "TRAILER!!!" is the end.
//
// Nothing of a header is believed: digits are checked, and sizes before they are used. OSv's daemon
// (tools/cpiod/cpio.cc) uses mode, size and name; we also see which names are of one file, and how
// old it is. As there, no padding of the trailer is asked for.

#include "archive.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define FIELDS 13
enum {
    FIELD_INODE = 0,
    FIELD_MODE = 1,
    FIELD_LINKS = 4,
    FIELD_MTIME = 5,
    FIELD_SIZE = 6,
    FIELD_NAME_SIZE = 11,
};

struct header {
    char magic[6];
    char fields[FIELDS][8];
};
_Static_assert(sizeof(struct header) == 110, "characters only, so without gaps");

static bool number(const char digits[8], uint32_t *out) {
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        const char *digit = memchr("0123456789abcdef0123456789ABCDEF", digits[i], 32);
        if (!digit)
            return false;
        value = value << 4 | ((uint32_t)(digit - "0123456789abcdef0123456789ABCDEF") & 15);
    }
    *out = value;
    return true;
}

bool archive_padding(struct input *in, size_t size) {
    return input_skip(in, -size & 3);
}

static int cut_short(const char **error) {
    *error = errno ? strerror(errno) : "the stream ends in the middle of the archive";
    return -1;
}

int archive_next(struct input *in, struct entry *entry, const char **error) {
    struct header header;
    uint32_t fields[FIELDS];
    if (!input_exactly(in, &header, sizeof(header)))
        return cut_short(error);
    *error = "bad cpio magic";
    if (memcmp(header.magic, "070701", 6) != 0)
        return -1;
    *error = "a field of the header is no number";
    for (int i = 0; i < FIELDS; i++)
        if (!number(header.fields[i], &fields[i]))
            return -1;
    *error = "the name is empty or too long";
    uint32_t name_size = fields[FIELD_NAME_SIZE];
    if (name_size < 2 || name_size > ENTRY_NAME_SIZE)
        return -1;
    char name[ENTRY_NAME_SIZE];
    if (!input_exactly(in, name, name_size))
        return cut_short(error);
    *error = "the name does not end where it should";
    if (strnlen(name, name_size) != name_size - 1)
        return -1;
    memcpy(entry->name, name, name_size);
    entry->mode = fields[FIELD_MODE];
    entry->inode = fields[FIELD_INODE];
    entry->links = fields[FIELD_LINKS];
    entry->mtime = fields[FIELD_MTIME];
    entry->size = fields[FIELD_SIZE];
    if (!strcmp(entry->name, "TRAILER!!!"))
        return 0;
    return archive_padding(in, sizeof(header) + name_size) ? 1 : cut_short(error);
}
