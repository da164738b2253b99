// A configuration on a disk that a cloud, or osvlab, attaches: an ISO 9660 image (ECMA-119) with
// the file /user-data, whose name may be a Rock Ridge one (IEEE P1282: NM), a Joliet one
// (UCS-2), or a plain one.
//
// Nothing on the disk is believed: every offset is below the limit of what one directory or file
// may have, and every record is inside the sector that it began in.

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "source.h"

#define SECTOR 2048
#define FIRST_DESCRIPTOR 16 // sector
#define DESCRIPTORS_MOST 16
#define DIRECTORY_SECTORS_MOST 64
#define DISKS_MOST 10

static const char wanted[] = "user-data";

enum { DESCRIPTOR_PRIMARY = 1, DESCRIPTOR_SUPPLEMENTARY = 2, DESCRIPTOR_END = 255 };
enum { ROOT_RECORD = 156, ESCAPE_SEQUENCES = 88 }; // in a descriptor
enum { RECORD_EXTENT = 2, RECORD_SIZE = 10, RECORD_FLAGS = 25, RECORD_NAME_SIZE = 32, RECORD_NAME };
enum { FLAG_DIRECTORY = 2 };

struct extent {
    uint32_t sector, size;
};

static uint32_t number(const unsigned char *at) {
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static struct extent extent_of(const unsigned char *record) {
    return (struct extent){number(record + RECORD_EXTENT), number(record + RECORD_SIZE)};
}

static bool read_sector(int disk, uint64_t sector, unsigned char out[SECTOR]) {
    return pread(disk, out, SECTOR, (off_t)(sector * SECTOR)) == SECTOR;
}

// The Rock Ridge name among the entries behind a record's name.
static bool has_rock_ridge_name(const unsigned char *record) {
    size_t at = RECORD_NAME + record[RECORD_NAME_SIZE];
    at += at & 1; // entries begin at an even offset
    while (at + 4 <= record[0] && record[at + 2] >= 4 && at + record[at + 2] <= record[0]) {
        const unsigned char *entry = record + at;
        if (entry[0] == 'N' && entry[1] == 'M' && entry[2] == 5 + strlen(wanted))
            return !memcmp(entry + 5, wanted, strlen(wanted));
        at += entry[2];
    }
    return false;
}

static bool has_plain_name(const unsigned char *record) {
    size_t size = record[RECORD_NAME_SIZE], length = strlen(wanted);
    const char *name = (const char *)record + RECORD_NAME;
    if (size < length || strncasecmp(name, wanted, length))
        return false;
    // A version may follow: "USER-DATA.;1".
    return size == length || name[length] == ';' || (name[length] == '.' && size == length + 1) ||
           (size > length + 1 && name[length] == '.' && name[length + 1] == ';');
}

static bool has_joliet_name(const unsigned char *record) {
    const unsigned char *name = record + RECORD_NAME;
    size_t length = strlen(wanted);
    if (record[RECORD_NAME_SIZE] < 2 * length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[2 * i] != 0 || name[2 * i + 1] != wanted[i])
            return false;
    return record[RECORD_NAME_SIZE] == 2 * length || name[2 * length + 1] == ';';
}

static bool is_wanted(const unsigned char *record, bool joliet) {
    if (record[RECORD_FLAGS] & FLAG_DIRECTORY)
        return false;
    return joliet ? has_joliet_name(record) : has_rock_ridge_name(record) || has_plain_name(record);
}

// Looks through a directory, sector by sector; records do not cross sectors (ECMA-119 6.8.1.1).
static bool find(int disk, struct extent directory, bool joliet, struct extent *out) {
    unsigned char sector[SECTOR];
    uint32_t sectors = directory.size / SECTOR + (directory.size % SECTOR != 0);
    for (uint32_t i = 0; i < sectors && i < DIRECTORY_SECTORS_MOST; i++) {
        if (!read_sector(disk, (uint64_t)directory.sector + i, sector))
            return false;
        for (size_t at = 0; at < SECTOR && sector[at]; at += sector[at]) {
            const unsigned char *record = sector + at;
            if (record[0] <= RECORD_NAME || at + record[0] > SECTOR ||
                RECORD_NAME + record[RECORD_NAME_SIZE] > record[0])
                return false;
            if (is_wanted(record, joliet)) {
                *out = extent_of(record);
                return true;
            }
        }
    }
    return false;
}

static bool is_joliet(const unsigned char *descriptor) {
    const unsigned char *escape = descriptor + ESCAPE_SEQUENCES;
    return escape[0] == '%' && escape[1] == '/' && escape[2] && strchr("@CE", escape[2]);
}

static bool find_on(int disk, struct extent *out) {
    unsigned char descriptor[SECTOR];
    for (int i = 0; i < DESCRIPTORS_MOST; i++) {
        if (!read_sector(disk, FIRST_DESCRIPTOR + i, descriptor) ||
            memcmp(descriptor + 1, "CD001", 5) != 0 || descriptor[0] == DESCRIPTOR_END)
            return false;
        bool joliet = descriptor[0] == DESCRIPTOR_SUPPLEMENTARY && is_joliet(descriptor);
        if (!joliet && descriptor[0] != DESCRIPTOR_PRIMARY)
            continue;
        if (find(disk, extent_of(descriptor + ROOT_RECORD), joliet, out))
            return true;
    }
    return false;
}

static bool read_extent(int disk, struct extent extent, struct text *out, const char **error) {
    *error = "the configuration is larger than 1 MiB";
    if (extent.size > CONFIGURATION_LIMIT)
        return false;
    *error = "no memory";
    char *bytes = malloc(extent.size + 1UL);
    if (!bytes)
        return false;
    *error = "the disk ends before its file does";
    if (pread(disk, bytes, extent.size, (off_t)extent.sector * SECTOR) != (ssize_t)extent.size) {
        free(bytes);
        return false;
    }
    bytes[extent.size] = 0;
    *out = (struct text){bytes, extent.size};
    return true;
}

bool source_iso(const char *disks, struct text *out, const char **error) {
    *error = NULL;
    for (int number = 1; number <= DISKS_MOST; number++) {
        char path[256];
        struct extent extent;
        snprintf(path, sizeof(path), "%s%d", disks, number);
        int disk = open(path, O_RDONLY | O_CLOEXEC);
        if (disk < 0)
            continue;
        bool found = find_on(disk, &extent);
        bool good = found && read_extent(disk, extent, out, error);
        close(disk);
        if (found)
            return good;
    }
    return false;
}
