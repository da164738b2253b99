// From the entries of an archive to files.
#pragma once

#include "archive.h"

// What went wrong, in words, and with which entry.
struct complaint {
    const char *what;
    bool after; // not with `entry`, but with what follows it; a name of "" is the beginning
};

struct unpack_how {
    const char *prefix; // the directory that everything goes below
    bool verbose;       // each entry is told
    bool keep_times;    // files are as old as the archive says
};

// Unpacks everything that arrives. 0 or -1; `entry` is the last one.
int unpack(struct input *in, const struct unpack_how *how, struct entry *entry,
           struct complaint *complaint);
