// requests PORT COUNT KEEP < REQUEST: sends a request to 127.0.0.1 COUNT times, one after the other,
// each over a new connection, or all over one if KEEP is 1. Prints the seconds that took and the
// bytes of a response.

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char request[4096], response[1 << 16];
static size_t request_size;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int call(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) < 0)
        fail("connect");
    return s;
}

// The size of a whole response, or 0 while there is only a part of one.
static size_t whole(size_t size) {
    response[size] = 0;
    char *end = strstr(response, "\r\n\r\n");
    char *length = end ? strcasestr(response, "\r\nContent-Length:") : NULL;
    if (!length)
        return 0;
    size_t all = (size_t)(end + 4 - response) + (size_t)atol(length + 17);
    return size >= all ? all : 0;
}

static size_t ask(int s, int keep) {
    size_t size = 0;
    ssize_t got = 1;

    if (write(s, request, request_size) != (ssize_t)request_size)
        fail("write");
    while (got > 0 && !(keep && whole(size))) {
        got = read(s, response + size, sizeof(response) - 1 - size);
        if (got < 0)
            fail("read");
        size += (size_t)got;
    }
    if (strncmp(response, "HTTP/1.", 7) || strncmp(response + 8, " 200 ", 5) || !whole(size)) {
        fprintf(stderr, "not a whole response with status 200: %.200s\n", response);
        exit(1);
    }
    return size;
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    int port = atoi(argv[1]), count = atoi(argv[2]), keep = atoi(argv[3]);
    size_t size = 0;

    request_size = fread(request, 1, sizeof(request), stdin);
    double began = seconds();
    int s = keep ? call(port) : -1;
    for (int i = 0; i < count; i++) {
        if (!keep)
            s = call(port);
        size = ask(s, keep);
        if (!keep)
            close(s);
    }
    printf("%f %zu\n", seconds() - began, size);
    return 0;
}
