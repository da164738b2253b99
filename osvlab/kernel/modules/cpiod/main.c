// The upload daemon: takes one connection and unpacks the cpio archive that comes over it.
// Interface and console lines are those of OSv's (tools/cpiod/cpiod.cc), because tools wait for
// them. OSv's only answer is that the connection closes; ours first says "ok", once the files are
// on their disk, or "error: ENTRY: WHY".
//
// Reading order: input.c (bytes), archive.c (records), place.c (directories), unpack.c (files).

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "unpack.h"

struct settings {
    int port;
    struct unpack_how how;
};

static const char usage[] = "cpiod: takes files over the network\n"
                            "  --port N     listen on this port (10000)\n"
                            "  --prefix P   put them below this directory (/)\n"
                            "  --verbose N  0: say nothing of each file (1)\n"
                            "  --preserve-modification-time\n"
                            "               files are as old as they are said to be\n"
                            "  --help       show this text\n";

static bool whole_number(const char *text, int most, int *out) {
    char *end;
    long value = strtol(text, &end, 10);
    if (!*text || *end || value < 0 || value > most)
        return false;
    *out = (int)value;
    return true;
}

// "--name value" and "--name=value". NULL: it is another option.
static const char *value_of(const char *name, char **argv, int *i) {
    size_t length = strlen(name);
    if (strncmp(argv[*i], name, length))
        return NULL;
    if (argv[*i][length] == '=')
        return argv[*i] + length + 1;
    if (argv[*i][length])
        return NULL;
    return argv[*i + 1] ? argv[++*i] : "";
}

static bool parse(int argc, char **argv, struct settings *out) {
    int verbose = 1;
    for (int i = 1; i < argc; i++) {
        const char *value, *option = argv[i];
        bool good = false;
        if ((value = value_of("--port", argv, &i)))
            good = whole_number(value, 65535, &out->port);
        else if ((value = value_of("--verbose", argv, &i)))
            good = whole_number(value, 9, &verbose);
        else if ((value = value_of("--prefix", argv, &i)))
            good = *(out->how.prefix = value) != 0;
        else if (!strcmp(option, "--preserve-modification-time"))
            good = out->how.keep_times = true, value = option;
        if (!good) {
            printf("cpiod: %s: %s\n%s", option, value ? "not a value for it" : "unknown option",
                   usage);
            return false;
        }
    }
    out->how.verbose = verbose > 0;
    return true;
}

// A listening socket on all addresses; *port 0 becomes the port that was chosen.
static int listen_on(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t size = sizeof(address);
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        close(listener);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

static int take_connection(int listener) {
    int connection;
    do
        connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
    close(listener);
    return connection;
}

// The last word to the sender. What it still sends is read and thrown away, for a while: closing
// with data unread would reset the connection, and the answer with it.
static void answer(int connection, const char *text) {
    char rest[4096];
    struct timeval patience = {.tv_sec = 2};
    if (write(connection, text, strlen(text)) < 0)
        return;
    shutdown(connection, SHUT_WR);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (size_t left = 16 << 20; left > sizeof(rest);) {
        ssize_t got = read(connection, rest, sizeof(rest));
        if (got <= 0)
            break;
        left -= (size_t)got;
    }
}

static int serve(int connection, const struct settings *settings) {
    static struct input input;
    static struct entry entry;
    char text[ENTRY_NAME_SIZE + 256];
    struct complaint complaint;
    input.descriptor = connection;
    int status = unpack(&input, &settings->how, &entry, &complaint);
    if (status < 0) {
        snprintf(text, sizeof(text), "error: %s%s: %s\n", complaint.after ? "what follows " : "",
                 entry.name[0] ? entry.name : "the beginning", complaint.what);
        printf("cpiod: %s", text);
    } else {
        sync(); // what is on other disks than the prefix, too
        snprintf(text, sizeof(text), "ok\n");
    }
    answer(connection, text);
    return status < 0 ? 1 : 0;
}

__attribute__((visibility("default"))) int main(int argc, char **argv) {
    struct settings settings = {.port = 10000, .how.prefix = "/"};
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help"))
            return fputs(usage, stdout), 0;
    if (!parse(argc, argv, &settings))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    signal(SIGPIPE, SIG_IGN);
    int port = settings.port, listener = listen_on(&port);
    if (listener < 0) {
        printf("cpiod: cannot listen on port %d: %s\n", settings.port, strerror(errno));
        return 1;
    }
    if (settings.port == 0)
        printf("cpiod: listening on port %d\n", port);
    puts("Waiting for connection from host...");
    int connection = take_connection(listener);
    if (connection < 0) {
        printf("cpiod: no connection: %s\n", strerror(errno));
        return 1;
    }
    int status = serve(connection, &settings);
    close(connection);
    if (status == 0)
        puts("cpiod finished");
    return status;
}
