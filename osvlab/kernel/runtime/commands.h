// The application part of the command line: which programs to run, and how.
// The language is OSv's (osv core/commands.cc).
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "texts.h"

enum ending {
    FOREGROUND, // `;` or the end: run it and wait
    BACKGROUND, // `&`: waited for before the kernel shuts down
    DETACHED,   // `&!`: asked to terminate when the others are done
    ALONE,      // `!`: as FOREGROUND; what it leaves running is stopped (here it always is)
};

struct command {
    struct texts words;
    enum ending ending;
};

struct commands {
    struct command *list;
    size_t count, room;
};

// Parses one line: words, quotes, separators; then expands $VAR. False: it cannot be parsed.
bool commands_parse(const char *line, struct commands *out);

// The same, and replaces `runscript FILE` by the commands in the file, whose --env options take
// effect at once. False: an error was printed on standard output.
bool commands_expand(const char *line, struct commands *out);

// Appends the commands of the scripts in `directory`, sorted by name. False: one could not be
// parsed, which was printed. A directory that is not there has no scripts.
bool commands_from_directory(const char *directory, struct commands *out,
                             void (*note)(const char *path, const char *text));

void commands_append(struct commands *to, struct commands *from); // `from` becomes empty
