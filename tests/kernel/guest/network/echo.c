// The epoll echo server of the textbooks: one thread, edge-triggered, non-blocking. Ends when a
// client sends "quit".
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_EVENTS 64

static int epoll;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return;
            die("accept");
        }
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        watch(fd, EPOLLIN | EPOLLET);
    }
}

// What is read is written back; a client that does not read its answers makes the server wait.
static void write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno != EAGAIN)
            return;
        data += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
}

static int echo(int fd) {
    char data[4096];
    for (;;) {
        ssize_t got = read(fd, data, sizeof(data));
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0) {
            close(fd); // takes it out of the epoll, too
            return 0;
        }
        write_all(fd, data, (size_t)got);
        if (got >= 4 && memcmp(data, "quit", 4) == 0)
            return 1;
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    struct epoll_event events[MAX_EVENTS];
    int yes = 1, done = 0, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_port = htons((unsigned short)(count > 1 ? atoi(arguments[1]) : 7));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 128) < 0)
        die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    watch(listener, EPOLLIN);
    while (!done) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        if (ready < 0)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                done |= echo(events[i].data.fd);
        }
    }
    puts("echo: ok");
    return 0;
}
