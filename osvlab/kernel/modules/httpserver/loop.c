// The event loop: see loop.h. One thread, epoll(7), level-triggered.
//
// Invariant: a connection is freed only between two rounds, so that an event that has been taken
// from the kernel never names one that is gone.

#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "settings.h"

#define EVENTS 64
#define MOST_CONNECTIONS 1024
#define SPARE_DESCRIPTORS 32 // for files and what handlers open
#define SWEEP_MS 500

static struct connection *connections; // a list, the newest first
static int connection_count, connection_limit;
static int queue = -1;
static bool running, accepting;
static uint64_t next_sweep;

void loop_stop(void) {
    running = false;
}

int loop_listen(int *port, const char **error) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t length = sizeof(address);
    int on = 1, listener;
    *error = "address";
    if (inet_pton(AF_INET, settings.address, &address.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    *error = "socket";
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    *error = "bind";
    if (!bind(listener, (struct sockaddr *)&address, sizeof(address))) {
        *error = "listen";
        if (!listen(listener, 128) &&
            !getsockname(listener, (struct sockaddr *)&address, &length)) {
            *port = ntohs(address.sin_port);
            return listener;
        }
    }
    int reason = errno;
    close(listener);
    errno = reason;
    return -1;
}

static void watch(struct connection *c) {
    unsigned wanted = c->state == SENDING ? EPOLLOUT : EPOLLIN;
    struct epoll_event event = {.events = wanted, .data.ptr = c};
    if (c->state == CLOSED || c->watched == wanted)
        return;
    if (epoll_ctl(queue, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->descriptor, &event))
        c->state = CLOSED;
    c->watched = wanted;
}

// Closing alone is not enough: a program that is being started holds a copy for a moment, and as
// long as anybody does, epoll goes on telling of it.
void loop_unwatch(int descriptor) {
    epoll_ctl(queue, EPOLL_CTL_DEL, descriptor, NULL);
}

static void accept_more(int listener, bool on) {
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};
    if (on != accepting)
        epoll_ctl(queue, EPOLL_CTL_MOD, listener, &event);
    accepting = on;
}

// Makes room by ending the connection that has been idle for longest.
static void end_an_idle_one(void) {
    struct connection *oldest = NULL;
    for (struct connection *c = connections; c; c = c->next) // the newest first
        if (connection_is_idle(c) && (!oldest || c->deadline <= oldest->deadline))
            oldest = c;
    if (oldest)
        connection_end(oldest);
}

static void accept_one(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            accept_more(listener, false); // until one has been freed
            end_an_idle_one();
        }
        return;
    }
    struct connection *c = malloc(sizeof(*c));
    if (!c) {
        close(descriptor);
        return;
    }
    connection_begin(c, descriptor);
    c->next = connections;
    if (connections)
        connections->previous = c;
    connections = c;
    if (++connection_count >= connection_limit) {
        accept_more(listener, false);
        end_an_idle_one();
    }
    watch(c);
}

static void forget(struct connection *c) {
    if (c->next)
        c->next->previous = c->previous;
    if (c->previous)
        c->previous->next = c->next;
    else
        connections = c->next;
    connection_end(c);
    free(c);
    connection_count--;
}

// Ends what has expired and frees what has ended.
static void sweep(int listener) {
    uint64_t now = now_ms();
    bool look = now >= next_sweep;
    if (look)
        next_sweep = now + SWEEP_MS;
    for (struct connection *c = connections, *next; c; c = next) {
        next = c->next;
        if (look && c->state != CLOSED && now >= c->deadline) {
            connection_expired(c);
            watch(c);
        }
        if (c->state == CLOSED)
            forget(c);
    }
    if (connection_count < connection_limit)
        accept_more(listener, true);
}

static void limit_connections(void) {
    struct rlimit limit;
    connection_limit = MOST_CONNECTIONS;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < MOST_CONNECTIONS + SPARE_DESCRIPTORS)
        connection_limit = limit.rlim_cur > 2 * SPARE_DESCRIPTORS
                               ? (int)limit.rlim_cur - SPARE_DESCRIPTORS
                               : SPARE_DESCRIPTORS;
}

void loop_run(int listener) {
    struct epoll_event events[EVENTS];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    limit_connections();
    queue = epoll_create1(EPOLL_CLOEXEC);
    if (queue < 0 || epoll_ctl(queue, EPOLL_CTL_ADD, listener, &event))
        return;
    running = accepting = true;
    while (running) {
        bool ended = false;
        int count = epoll_wait(queue, events, EVENTS, connections ? SWEEP_MS : -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                accept_one(listener);
            } else if (c->state != CLOSED) {
                connection_ready(c);
                watch(c);
            }
            ended = ended || !c || c->state == CLOSED;
        }
        if (ended || count <= 0 || now_ms() >= next_sweep)
            sweep(listener);
    }
    while (connections)
        forget(connections);
    close(queue);
    queue = -1;
}
