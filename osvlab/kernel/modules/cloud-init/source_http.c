// A configuration from a web server: one GET in HTTP/1.0 (RFC 1945), each step under a timeout.

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "source.h"

#define REQUEST_SIZE 2048

static const char *why(int error) { // a timeout shows as one of these
    return error == EAGAIN || error == EINPROGRESS ? "no answer in time" : strerror(error);
}

static int connected(const char *server, const char *port, int seconds, const char **error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *found;
    struct timeval patience = {.tv_sec = seconds};
    int status = getaddrinfo(server, port, &hints, &found);
    if (status) {
        *error = gai_strerror(status);
        return -1;
    }
    int number = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (number >= 0) {
        setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(number, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); // connect too
    }
    if (number < 0 || connect(number, found->ai_addr, found->ai_addrlen) < 0) {
        *error = why(errno);
        if (number >= 0)
            close(number);
        number = -1;
    }
    freeaddrinfo(found);
    return number;
}

static bool ask(int number, const char *server, const char *path, const char *header,
                const char **error) {
    char request[REQUEST_SIZE];
    int size = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: %s\r\n%s%s\r\n", path,
                        server, header ? header : "", header ? "\r\n" : "");
    *error = "the URL is too long";
    if (size >= (int)sizeof(request))
        return false;
    for (int done = 0; done < size;) {
        ssize_t put = write(number, request + done, (size_t)(size - done));
        if (put < 0 && errno != EINTR) {
            *error = why(errno);
            return false;
        }
        done += put > 0 ? (int)put : 0;
    }
    return true;
}

// How much the head says the body has, or -1 if it does not.
static long announced(const char *head, const char *end) {
    static const char name[] = "\r\nContent-Length:";
    for (const char *line = head; line < end; line++)
        if (!strncasecmp(line, name, sizeof(name) - 1))
            return strtol(line + sizeof(name) - 1, NULL, 10);
    return -1;
}

// Cuts the head off an answer.
static bool body_of(struct text *answer, const char **error) {
    static char status[64];
    char *end = strstr(answer->bytes, "\r\n\r\n");
    *error = "what answers does not speak HTTP";
    if (!end || strncmp(answer->bytes, "HTTP/1.", 7) || strlen(answer->bytes) < 12)
        return false;
    if (strncmp(answer->bytes + 8, " 200", 4)) {
        int length = (int)strcspn(answer->bytes, "\r\n");
        snprintf(status, sizeof(status), "the server says: %.*s", length - 9 < 40 ? length - 9 : 40,
                 answer->bytes + 9);
        *error = status;
        return false;
    }
    size_t head = (size_t)(end + 4 - answer->bytes);
    long expected = announced(answer->bytes, end);
    *error = "the answer is incomplete";
    if (expected >= 0 && (size_t)expected != answer->size - head)
        return false;
    answer->size -= head;
    memmove(answer->bytes, answer->bytes + head, answer->size + 1);
    return true;
}

bool source_http(const char *server, const char *port, const char *path, const char *header,
                 int seconds, struct text *out, const char **error) {
    *out = (struct text){0};
    int number = connected(server, port, seconds, error);
    if (number < 0)
        return false;
    bool good = ask(number, server, path, header, error) && read_all(number, out, error) &&
                body_of(out, error);
    close(number);
    if (!good) {
        free(out->bytes);
        *out = (struct text){0};
    }
    return good;
}
