// The partition table in a disk's first sector.
#pragma once

#include "block.h"

#define PARTITIONS 4

struct partition {
    bool present;
    u64 first_sector, sectors;
};

// Reads the table by OSv's rules. False if the sector has none. A partition that begins beyond
// the disk's end is not there; one that ends beyond it is cut.
bool partitions_read(const u8 sector[SECTOR_SIZE], u64 disk_sectors,
                     struct partition out[PARTITIONS]);
