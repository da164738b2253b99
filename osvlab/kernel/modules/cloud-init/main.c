// cloud-init: configures the guest at boot, before the application, as a YAML text says. Options,
// sources and dialect are OSv's (osv modules/cloud-init).
//
// Reading order: source_*.c (where the text comes from), document.c (YAML), handlers.c (what its
// keys do), rest.c (calls of the REST API, without a network).

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handlers.h"

struct options {
    bool skip_errors, force_probe;
    const char *file, *server, *url, *port, *disks;
};

static const char usage[] =
    "cloud-init: configures this guest\n"
    "  --file F        take the configuration from this file\n"
    "  --server S      or from this web server,\n"
    "  --url U         with this path\n"
    "  --port P        and port (80)\n"
    "  --force-probe   ask for a cloud's metadata service\n"
    "  --skip-error    go on after an error\n"
    "  --disks D       where disks are (/dev/vblk, for /dev/vblk1 to 10)\n"
    "Without file and server: the first disk with a file /user-data (ISO 9660).\n";

// "--name value" and "--name=value"; what else it is, or -1.
static int take(const char *name, char **argv, int i, const char **out) {
    size_t length = strlen(name);
    if (strncmp(argv[i], name, length))
        return -1;
    if (argv[i][length] == '=') {
        *out = argv[i] + length + 1;
        return i;
    }
    if (argv[i][length] || !argv[i + 1])
        return -1;
    *out = argv[i + 1];
    return i + 1;
}

static bool parse(int argc, char **argv, struct options *out) {
    const struct {
        const char *name;
        const char **value;
    } valued[] = {
        {"--file", &out->file}, {"--server", &out->server}, {"--url", &out->url},
        {"--port", &out->port}, {"--disks", &out->disks},
    };
    for (int i = 1; i < argc; i++) {
        int taken = -1;
        for (size_t k = 0; k < sizeof(valued) / sizeof(valued[0]) && taken < 0; k++)
            taken = take(valued[k].name, argv, i, valued[k].value);
        if (taken >= 0)
            i = taken;
        else if (!strcmp(argv[i], "--skip-error"))
            out->skip_errors = true;
        else if (!strcmp(argv[i], "--force-probe"))
            out->force_probe = true;
        else {
            printf("cloud-init: unknown option, or one without its value: %s\n%s", argv[i], usage);
            return false;
        }
    }
    if (!out->server == !out->url)
        return true;
    puts("cloud-init: --server and --url go together");
    return false;
}

// The first source that is there, in OSv's order. 1; 0: there is none; -1: one that failed.
static int find(const struct options *options, struct text *text) {
    const char *error = NULL, *where;
    char *hostname = NULL;
    bool found;
    if (options->file) {
        found = source_file(where = options->file, text, &error);
    } else if (options->server) {
        where = options->server;
        found = source_http(where, options->port, options->url, NULL, 10, text, &error);
    } else {
        found = source_iso(options->disks, text, &error);
        where = "the disk with /user-data";
        if (!found && !error && options->force_probe) {
            found = source_cloud(text, &hostname, &error);
            where = "the cloud's metadata service";
        }
    }
    struct complaint complaint;
    if (hostname && !hostname_set(hostname, &complaint))
        printf("cloud-init: %s\n", complaint.text);
    free(hostname);
    if (!found && error)
        printf("cloud-init failed: %s: %s\n", where, error);
    return found ? 1 : error ? -1 : 0;
}

__attribute__((visibility("default"))) int main(int argc, char **argv) {
    struct options options = {.port = "80", .disks = "/dev/vblk"};
    struct text text;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help"))
            return fputs(usage, stdout), 0;
    if (!parse(argc, argv, &options))
        return 2;
    int found = find(&options, &text);
    if (found <= 0)
        return found < 0;
    struct settings settings = {.skip_errors = options.skip_errors};
    bool good = configuration_apply(&text, &settings);
    free(text.bytes);
    rest_wait();
    return good ? 0 : 1;
}
