// A web server as textbooks have it: one connection at a time, over plain sockets.
// It runs on Linux as it does in a guest.
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, PAGE_MAX = 1024 };

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, server = socket(AF_INET, SOCK_STREAM, 0);

    if (server < 0 || setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(server, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server, 16) < 0) {
        perror("web");
        exit(EXIT_FAILURE);
    }
    return server;
}

// TCP is a stream of bytes: a request may come in pieces, and ends with an empty line.
static bool read_request(int client, char *request) {
    size_t length = 0;

    request[0] = '\0';
    while (length < REQUEST_MAX - 1) {
        size_t room = REQUEST_MAX - 1 - length;
        ssize_t got = read(client, request + length, room);
        if (got <= 0)
            return false;
        length += got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n"))
            return true;
    }
    return false;
}

static void write_all(int client, const char *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(client, data, size);
        if (put <= 0)
            return; // the client has left
        data += put;
        size -= put;
    }
}

static void answer(int client, const char *status, const char *page) {
    char head[PAGE_MAX];
    int length = snprintf(head, sizeof(head),
                          "HTTP/1.1 %s\r\n"
                          "Content-Type: text/html\r\n"
                          "Content-Length: %zu\r\n"
                          "Connection: close\r\n\r\n",
                          status, strlen(page));

    write_all(client, head, length);
    write_all(client, page, strlen(page));
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 8080, server = listen_on(port);
    char request[REQUEST_MAX], page[PAGE_MAX], path[64];
    struct utsname system;
    bool open = true;

    uname(&system);
    signal(SIGPIPE, SIG_IGN); // a client that leaves early must not end the server
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on port %d\n", port);
    for (int visit = 1; open; visit++) {
        int client = accept(server, NULL, NULL);
        if (client < 0)
            continue;
        if (!read_request(client, request) || sscanf(request, "GET %63s", path) != 1) {
            answer(client, "400 Bad Request", "<p>Pardon?</p>\n");
        } else if (strcmp(path, "/") == 0) {
            snprintf(page, sizeof(page), "<h1>Hello from %s %s</h1>\n<p>You are visitor %d.</p>\n",
                     system.sysname, system.release, visit);
            answer(client, "200 OK", page);
        } else if (strcmp(path, "/quit") == 0) {
            answer(client, "200 OK", "<p>Good bye.</p>\n");
            open = false;
        } else {
            answer(client, "404 Not Found", "<p>There is no such page.</p>\n");
        }
        printf("visit %d: %s\n", visit, request[0] ? strtok(request, "\r\n") : "nothing");
        close(client);
    }
    return EXIT_SUCCESS;
}
