// The parts of the tool (zfs_tool.c): what is open, the words of the command, and tables of commands.
#pragma once

#include "objects.h"
#include "zfs_shim.h"

extern struct zfs_pool *pool;
extern struct zfs_dataset *dataset;
extern char *words[8];
extern int word_count;

uint64_t number(int index); // of a word; 0: there is none

enum need { NOTHING, A_POOL, A_DATASET };

struct command {
    const char *name;
    int words;
    enum need need;
    int (*run)(void);
};
extern const struct command file_commands[]; // zfs_tool_files.c; the last one has no name
