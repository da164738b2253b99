// The commands that an image brings along in /init, a file for each: run before the command
// line's, sorted by the names of the files (osv loader.cc, do_main_thread).

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"

// Parses one script, line by line.
static bool read_script(const char *path, struct commands *out,
                        void (*note)(const char *, const char *)) {
    FILE *file = fopen(path, "r");
    if (!file) {
        dprintf(1, "%s: cannot be read\n", path);
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    bool good = true;
    ssize_t length;
    while (good && (length = getline(&line, &size, file)) >= 0) {
        struct commands parsed;
        if (length && line[length - 1] == '\n')
            line[length - 1] = 0;
        note(path, line);
        good = commands_expand(line, &parsed);
        if (good)
            commands_append(out, &parsed);
        else
            dprintf(1, "%s: cannot run '%s'\n", path, line);
    }
    free(line);
    fclose(file);
    return good;
}

static int is_script(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
}

bool commands_from_directory(const char *directory, struct commands *out,
                             void (*note)(const char *path, const char *text)) {
    struct dirent **entries = NULL;
    if (access(directory, F_OK))
        return true;
    int count = scandir(directory, &entries, is_script, alphasort);
    bool good = true;
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        good = good && read_script(path, out, note);
        free(entries[i]);
    }
    free(entries);
    return good;
}
