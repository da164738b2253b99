// The options of the command line, by the names that OSv's server gives them.

#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"

struct settings settings = {
    .address = "0.0.0.0",
    .port = 8000,
    .access_allow = "",
    .body_limit = 1UL << 30,
    .timeout = 10,
    .idle_timeout = 60,
};

static const char usage[] =
    "REST API server\n"
    "  --port=N              port to listen on (8000; 0: any that is free)\n"
    "  --ipaddress=A         address to listen on (0.0.0.0)\n"
    "  --access-allow=LIST   origins that web pages may call from: true (all), false, or a list\n"
    "  --token=T             asks for `Authorization: Bearer T`\n"
    "  --body-limit=BYTES    largest body of a request (1G; K, M and G are understood)\n"
    "  --timeout=SECONDS     how long a request or a reply may stand still (10)\n"
    "  --idle-timeout=SECONDS  how long a connection may wait for its next request (60)\n"
    "  --root=DIR            what /file shows as / (links in it may lead out)\n"
    "  --help                this text\n";

static bool parse_size(const char *text, uint64_t most, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr("KMG", *end) : NULL;
    int shift = unit ? 10 * (int)(unit - "KMG" + 1) : 0;
    if (end == text || *text == '-' || errno || end[unit != NULL] || value > most >> shift)
        return false;
    *out = value << shift;
    return true;
}

static bool parse_int(const char *text, uint64_t most, int *out) {
    uint64_t value;
    if (!parse_size(text, most, &value))
        return false;
    *out = (int)value;
    return true;
}

static bool set_origins(const char *value) {
    settings.access_allow = !strcmp(value, "true") ? "*" : !strcmp(value, "false") ? "" : value;
    return true;
}

static bool set(const char *name, const char *value) {
    if (!strcmp(name, "port"))
        return parse_int(value, 65535, &settings.port);
    if (!strcmp(name, "body-limit"))
        return parse_size(value, 1UL << 50, &settings.body_limit);
    if (!strcmp(name, "timeout"))
        return parse_int(value, 86400, &settings.timeout) && settings.timeout > 0;
    if (!strcmp(name, "idle-timeout"))
        return parse_int(value, 86400, &settings.idle_timeout) && settings.idle_timeout > 0;
    if (!strcmp(name, "access-allow"))
        return set_origins(value);
    if (!strcmp(name, "ipaddress"))
        settings.address = value;
    else if (!strcmp(name, "token"))
        settings.token = value;
    else
        file_root = value;
    return *value;
}

static const char *const known[] = {"port",         "ipaddress", "token",   "body-limit",
                                    "access-allow", "root",      "timeout", "idle-timeout"};
// OSv's, which this server does not have.
static const char *const refused[] = {"ssl", "cert", "key", "cacert", "config-file"};

static bool is_one_of(const char *name, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(name, list[i]))
            return true;
    return false;
}

// Understands one option. False: an error was said.
static bool take(char *option, char *next, bool *took_next) {
    char *value = strchr(option, '=');
    char *name = !strncmp(option, "--", 2) ? option + 2 : option;
    if (value)
        *value++ = 0;
    if (is_one_of(name, refused, sizeof(refused) / sizeof(refused[0]))) {
        printf("--%s: this server has no TLS and no configuration file; use --token, and a proxy "
               "for encryption\n",
               name);
        return false;
    }
    if (name == option || !is_one_of(name, known, sizeof(known) / sizeof(known[0]))) {
        printf("Unrecognized option: %s\n", option);
        return false;
    }
    *took_next = !value && next;
    if (!value)
        value = next;
    if (value && set(name, value))
        return true;
    printf("the argument ('%s') for option '--%s' is invalid\n", value ? value : "", name);
    return false;
}

bool settings_parse(int argc, char **argv, int *status) {
    for (int i = 1; i < argc; i++) {
        bool took_next = false;
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            *status = 0;
            return false;
        }
        if (!take(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took_next)) {
            puts("httpserver failed: invalid configuration");
            *status = 1;
            return false;
        }
        i += took_next;
    }
    return true;
}
