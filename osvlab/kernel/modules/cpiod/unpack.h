// From the entries of an archive to files.
#pragma once

#include "archive.h"

// What went wrong, in words, and with which entry.
struct complaint {
    const char *what;
    bool after; // not with `entry`, but with what follows it; a name of "" is the beginning
};

// Unpacks everything that arrives, below the directory `prefix`. 0 or -1; `entry` is the last one.
int unpack(struct input *in, const char *prefix, bool verbose, struct entry *entry,
           struct complaint *complaint);
