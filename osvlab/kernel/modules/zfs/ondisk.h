/* ZFS as it lies on disk: pool version 5000 (and 1 to 28), ZPL version 5 (and 1 to 4).
 *
 * This text is read twice: by the C compiler, and by Python (osvlab.filesystems.zfs), for which the
 * comment behind a field is its meaning. So it holds structures and plain constants only, with
 * fields of fixed width in the order of the disk, all little-endian on the pools this lab writes.
 *
 * Specified in: "ZFS On-Disk Specification" (Sun Microsystems, 2006) for versions 1 to 28, and
 * OpenZFS's module headers (sys/uberblock_impl.h, sys/spa.h, sys/dnode.h, sys/zap_leaf.h,
 * sys/sa_impl.h) for what came later.
 */
#pragma once

#include <stdint.h>

// clang-format off: the meanings stand in a column of their own.

/* --- The vdev: four labels of 256 KiB, two at either end; 3.5 MiB for boot code behind the front ones. */

#define LABEL_SIZE 0x40000
#define LABEL_NVLIST 0x4000
#define LABEL_NVLIST_SIZE 0x1c000
#define LABEL_UBERBLOCKS 0x20000
#define LABEL_UBERBLOCKS_SIZE 0x20000
#define VDEV_DATA 0x400000
#define UBERBLOCK_SHIFT_MIN 10

#define SECTOR_SHIFT 9

#define UBERBLOCK_MAGIC 0x00bab10c
#define ECK_MAGIC 0x0210da7ab10c7a11

/* The embedded checksum at the end of what has no block pointer of its own: labels, uberblocks, gang headers.
 * SHA-256 over the whole region with `checksum` replaced by {byte offset of the region in the vdev, 0, 0, 0}. */
struct zio_eck {
    uint64_t magic;                 /* 0x0210da7ab10c7a11 */
    uint64_t checksum[4];           /* SHA-256, as four big-endian words */
};

/* Where a block is, three times at most. */
struct dva {
    uint64_t word0;                 /* vdev in bits 32 to 55, RAID-Z layout in 24 to 31, sectors taken (asize) in 0 to 23 */
    uint64_t word1;                 /* bit 63: a gang of smaller blocks; else the sector, counted from 4 MiB on */
};

struct blkptr {
    struct dva dva[3];              /* the copies; all zero: a hole */
    uint64_t properties;            /* logical sectors - 1 (0-15), physical (16-31), compression (32-38), embedded (39), checksum (40-47), type (48-55), level (56-60), encrypted (61), dedup (62), little-endian (63) */
    uint64_t padding[2];
    uint64_t physical_birth;        /* txg in which it was written, if that differs; else 0 */
    uint64_t birth;                 /* txg (transaction group) in which it came to be */
    uint64_t fill;                  /* non-empty blocks below: 1 for data, used dnodes for a block of dnodes, objects for an objset */
    uint64_t checksum[4];           /* of the block as it is stored */
};

struct uberblock {
    uint64_t magic;                 /* 0x00bab10c */
    uint64_t version;               /* of the pool: 1 to 28, or 5000 for features */
    uint64_t txg;                   /* transaction group that this one completed */
    uint64_t guid_sum;              /* of the pool's guid and those of all vdevs */
    uint64_t timestamp;             /* seconds since 1970 */
    struct blkptr rootbp;           /* the objset of the MOS, from which everything is found */
    uint64_t software_version;      /* of who wrote it */
};

/* What a block pointer to a gang leads to: up to three smaller blocks, which may be gangs again. */
struct gang_header {
    struct blkptr child[3];         /* holes: fewer */
    uint64_t padding[11];
    struct zio_eck eck;             /* the verifier: vdev, offset, birth txg, 0, of the pointer's first copy */
};

/* The MOS: the pool's own objects. Everything with a number is an object, and a dnode describes it. */

#define DNODE_SHIFT 9
#define DNODE_SIZE 512
#define DNODE_CORE_SIZE 64
#define DNODE_USED_BYTES 1
#define DNODE_USERUSED_ACCOUNTED 2
#define DNODE_SPILL 4

struct dnode {
    uint8_t type;                   /* what kind of object; 0: free */
    uint8_t indirect_shift;         /* log2 of the bytes of an indirect block */
    uint8_t levels;                 /* 1: the pointers here lead to data */
    uint8_t pointers;               /* how many block pointers there are here, 1 to 3 */
    uint8_t bonus_type;             /* what the bonus holds */
    uint8_t checksum;               /* for new blocks; 0: as its dataset has it */
    uint8_t compression;            /* for new blocks; 0: as its dataset has it */
    uint8_t flags;                  /* 1: used is in bytes, 2: counted for its owner, 4: has a spill block */
    uint16_t data_sectors;          /* bytes of a data block / 512 */
    uint16_t bonus_length;          /* bytes of the bonus in use */
    uint8_t extra_slots;            /* further slots of 512 bytes that it takes */
    uint8_t padding[3];
    uint64_t max_block;             /* the last data block's number */
    uint64_t used;                  /* disk space it takes, all copies, in bytes */
    uint64_t padding2[4];
    struct blkptr pointer[1];       /* as many as pointers says; then the bonus; a spill block's pointer comes last */
    uint8_t rest[320];              /* more pointers, the bonus */
};

struct zil_header {
    uint64_t claim_txg;             /* the log was claimed in this txg; 0: never */
    uint64_t replay_sequence;       /* last record that was replayed */
    struct blkptr log;              /* first block of the intent log; a hole: there is none */
    uint64_t claim_block_sequence;
    uint64_t flags;
    uint64_t claim_record_sequence;
    uint64_t padding[3];
};

/* At the end of a block of an intent log or, with checksum number 9, at its beginning. */
struct zil_chain {
    uint64_t padding;
    struct blkptr next;             /* the block after this, allocated before it is written */
    uint64_t used;                  /* bytes of this one */
    struct zio_eck eck;             /* the verifier: the checksum in the pointer to this block */
};

#define OBJSET_SIZE_OLD 1024
#define OBJSET_SIZE 2048

struct objset {
    struct dnode meta_dnode;        /* its data are the dnodes of all objects of this set */
    struct zil_header zil;          /* the intent log of a dataset */
    uint64_t type;                  /* 1: MOS, 2: filesystem, 3: volume */
    uint64_t flags;                 /* 1: space is counted by owner */
    uint8_t padding[304];
    struct dnode userused;          /* space by user; type 0: not counted */
    struct dnode groupused;         /* space by group */
};

/* --- ZAP: names and values. Small ones are one block of entries, large ones a hash table in blocks. */

#define ZAP_MICRO 0x8000000000000003
#define ZAP_HEADER 0x8000000000000001
#define ZAP_LEAF 0x8000000000000000
#define ZAP_MAGIC 0x2f52ab2ab
#define ZAP_LEAF_MAGIC 0x2ab1eaf
#define ZAP_HASH_BITS 28
#define MICRO_NAME 50
#define LEAF_CHUNK_SIZE 24
#define CHUNK_FREE 253
#define CHUNK_ENTRY 252
#define CHUNK_ARRAY 251
#define CHUNK_END 0xffff
#define LEAF_SORTED 1

struct micro_zap {
    uint64_t block_type;            /* 0x8000000000000003 */
    uint64_t salt;                  /* start value of the hash */
    uint64_t normalization;         /* of names; 0: none */
    uint64_t padding[5];
};

struct micro_entry {
    uint64_t value;                 /* a number, often that of an object */
    uint32_t differentiator;        /* among names of the same hash */
    uint16_t padding;
    char name[50];                  /* NUL-terminated; empty: the entry is free */
};

struct fat_zap {
    uint64_t block_type;            /* 0x8000000000000001 */
    uint64_t magic;                 /* 0x2f52ab2ab */
    uint64_t table_block;           /* first block of the pointer table */
    uint64_t table_blocks;          /* how many; 0: the second half of this block is the table */
    uint64_t table_shift;           /* log2 of its entries */
    uint64_t table_next;            /* block of the larger table that is being made */
    uint64_t table_copied;          /* blocks copied to it so far */
    uint64_t free_block;            /* the next block never used */
    uint64_t leaves;                /* how many leaf blocks */
    uint64_t entries;
    uint64_t salt;                  /* start value of the hash */
    uint64_t normalization;         /* of names; 0: none */
    uint64_t flags;                 /* 1: 64-bit hashes, 2: keys are numbers, 4: keys are hashed by the caller */
};

struct leaf_header {
    uint64_t block_type;            /* 0x8000000000000000 */
    uint64_t padding;
    uint64_t prefix;                /* the first bits of every hash in this leaf */
    uint32_t magic;                 /* 0x2ab1eaf */
    uint16_t free_chunks;
    uint16_t entries;
    uint16_t prefix_length;         /* bits of the prefix */
    uint16_t free_list;             /* first free chunk */
    uint8_t flags;                  /* 1: chains are in the order of differentiators */
    uint8_t padding2[11];
};

struct leaf_entry {
    uint8_t type;                   /* 252 */
    uint8_t value_size;             /* bytes of one integer of the value */
    uint16_t next;                  /* next entry of this hash chain, 65535: none */
    uint16_t name_chunk;            /* first chunk of the name */
    uint16_t name_length;           /* bytes, with the NUL */
    uint16_t value_chunk;           /* first chunk of the value */
    uint16_t value_count;           /* integers of the value */
    uint32_t differentiator;        /* among names of the same hash */
    uint64_t hash;                  /* CRC-64 of the name, the top 28 bits */
};

struct leaf_array {
    uint8_t type;                   /* 251 */
    uint8_t bytes[21];              /* integers are big-endian here */
    uint16_t next;                  /* next chunk, 65535: none */
};

struct leaf_free {
    uint8_t type;                   /* 253 */
    uint8_t padding[21];
    uint16_t next;
};

/* --- DSL: datasets and their places in the tree of names. */

struct dsl_dir {
    uint64_t created;               /* seconds since 1970 */
    uint64_t head_dataset;          /* object of the dataset that is seen under this name */
    uint64_t parent;                /* object of the directory above; 0: the pool's own */
    uint64_t origin;                /* snapshot that it is a clone of */
    uint64_t children;              /* ZAP of the directories below */
    uint64_t used_bytes;            /* disk space, with all below */
    uint64_t compressed_bytes;      /* bytes as they are stored */
    uint64_t uncompressed_bytes;    /* bytes as they are read */
    uint64_t quota;                 /* most bytes that it may use; 0: all of the pool */
    uint64_t reserved;              /* bytes kept free for it */
    uint64_t properties;            /* ZAP of the properties that were set */
    uint64_t delegation;            /* ZAP of what users may do (zfs allow); 0: none */
    uint64_t flags;                 /* 1: the breakdown below is kept */
    uint64_t used_by[5];            /* disk space: of the head, of snapshots, of children, reserved by children, reserved */
    uint64_t clones;                /* ZAP of clones (version 26) */
    uint64_t padding[13];
};

struct dsl_dataset {
    uint64_t directory;             /* object of its directory */
    uint64_t previous_snapshot;     /* object of the snapshot before it */
    uint64_t previous_snapshot_txg; /* when that was taken */
    uint64_t next_snapshot;         /* object of the snapshot or head after it */
    uint64_t snapshot_names;        /* ZAP of its snapshots, for a head */
    uint64_t children;              /* how many clones and next snapshots depend on it */
    uint64_t created;               /* seconds since 1970 */
    uint64_t created_txg;           /* transaction group in which it was created */
    uint64_t deadlist;              /* blocks that the previous snapshot has and this one no longer */
    uint64_t referenced_bytes;      /* disk space of what it can reach */
    uint64_t compressed_bytes;      /* bytes as they are stored */
    uint64_t uncompressed_bytes;    /* bytes as they are read */
    uint64_t unique_bytes;          /* disk space of what no other can reach */
    uint64_t fsid;                  /* tells it from all others in use on a machine; statfs reports it */
    uint64_t guid;                  /* unique; a snapshot that was sent keeps it */
    uint64_t flags;                 /* 1: inconsistent, 4: unique_bytes is right */
    struct blkptr pointer;          /* its objset; a hole: it is empty */
    uint64_t next_clones;           /* ZAP of clones of this snapshot */
    uint64_t properties;            /* ZAP of a snapshot's properties */
    uint64_t user_references;       /* ZAP of holds on a snapshot; 0: none */
    uint64_t padding[5];
};

/* --- Space maps: per metaslab, a list of what was taken and given back. */

struct space_map {
    uint64_t object;                /* the object itself */
    uint64_t length;                /* bytes of entries */
    uint64_t allocated;             /* bytes taken in the metaslab */
};

struct bpobj_header {
    uint64_t blocks;                /* block pointers in the object */
    uint64_t bytes;                 /* disk space of them */
    uint64_t compressed_bytes;      /* bytes as they are stored */
    uint64_t uncompressed_bytes;    /* bytes as they are read */
    uint64_t subobjects;            /* object with the numbers of further lists */
    uint64_t subobject_count;       /* how many those are */
};

struct deadlist_header {
    uint64_t used;                  /* disk space of the blocks in it */
    uint64_t compressed_bytes;      /* bytes as they are stored */
    uint64_t uncompressed_bytes;    /* bytes as they are read */
    uint64_t padding[37];
};

/* --- ZPL: files. Before version 5 a fixed structure, then attributes in layouts. */

#define SA_MAGIC 0x2f505a

struct acl_entry {
    uint16_t type;                  /* 0: allow, 1: deny */
    uint16_t flags;                 /* 0x1000: owner, 0x2040: group, 0x4000: everyone */
    uint32_t mask;                  /* what: 1 read, 2 write, 4 append, 0x20 execute and more */
};

struct znode {
    uint64_t accessed[2];           /* seconds since 1970, nanoseconds */
    uint64_t modified[2];
    uint64_t changed[2];
    uint64_t created[2];
    uint64_t generation;            /* txg in which it was created */
    uint64_t mode;                  /* type and permissions, as in st_mode */
    uint64_t size;                  /* bytes; entries + 2 of a directory */
    uint64_t parent;                /* object of the directory */
    uint64_t links;
    uint64_t extended_attributes;   /* directory of them; 0: none */
    uint64_t device;                /* of a special file */
    uint64_t flags;
    uint64_t owner;
    uint64_t group;
    uint64_t zap;                   /* extra attributes; 0: none */
    uint64_t padding[3];
    uint64_t acl_object;            /* a long ACL; 0: it is here */
    uint32_t acl_bytes;
    uint16_t acl_version;
    uint16_t acl_count;
    struct acl_entry acl[9];        /* a short symbolic link follows */
};

struct sa_header {
    uint32_t magic;                 /* 0x2f505a */
    uint16_t layout;                /* layout number (0-9), bytes of this header / 8 (10-15) */
    uint16_t lengths[1];            /* of the attributes of variable length, in order */
};
