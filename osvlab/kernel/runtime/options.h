// The kernel's options: the tokens that begin with `-` at the head of the command line.
// The language is OSv's (osv core/options.cc, loader.cc).
#pragma once

#include <stdbool.h>

#include "texts.h"

struct options {
    bool help, verbose, bootchart, noshutdown, nomount, nopivot, noinit, norandom, nopci;
    bool power_off_on_abort, disable_rofs_cache, preload_zfs;
    const char *rootfs, *console, *cwd, *redirect; // NULL = not given
    const char *defaultgw, *nameserver;
    struct texts env, mount_fs, ip;
    struct texts notices;    // to be said, but no reason to stop
    struct texts errors;     // if there are any, nothing is run
    const char *application; // the rest of the command line: inside the text that was parsed
    struct texts tokens;
};

// Parses a command line. The result refers to `line`.
void options_parse(const char *line, struct options *out);
// Splits a value of --ip: interface, address and netmask, between commas or blanks. False: it has
// not three parts.
bool options_split_address(char *value, char *parts[3]);

extern const char options_usage[];
