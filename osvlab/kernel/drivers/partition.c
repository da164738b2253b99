// The master boot record's partition table: four entries of 16 bytes at 0x1BE, then 55 AA.
//
// OSv's rule for an entry that counts is its own: a type that is not 0, and not 0 either in the
// six bits of the start's sector number (fs/devfs/device.cc). So images made for one kernel
// mean the same to the other.

#include "partition.h"

#include <string.h>

struct entry {
    u8 boot, start_head, start_sector, start_cylinder;
    u8 type, end_head, end_sector, end_cylinder;
    u32 first_sector, sectors;
};

#define TABLE_OFFSET 0x1be
#define SIGNATURE_OFFSET 0x1fe
#define SECTOR_BITS 0x3f

bool partitions_read(const u8 sector[SECTOR_SIZE], u64 disk_sectors,
                     struct partition out[PARTITIONS]) {
    struct entry entries[PARTITIONS];

    memset(out, 0, PARTITIONS * sizeof(*out));
    if (sector[SIGNATURE_OFFSET] != 0x55 || sector[SIGNATURE_OFFSET + 1] != 0xaa)
        return false;
    memcpy(entries, sector + TABLE_OFFSET, sizeof(entries));
    for (int i = 0; i < PARTITIONS; i++) {
        const struct entry *e = &entries[i];
        if (e->type == 0 || (e->start_sector & SECTOR_BITS) == 0 || e->first_sector > disk_sectors)
            continue;
        out[i].present = true;
        out[i].first_sector = e->first_sector;
        out[i].sectors = MIN((u64)e->sectors, disk_sectors - e->first_sector);
    }
    return true;
}
