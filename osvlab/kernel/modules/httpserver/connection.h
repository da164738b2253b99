// A connection: what happens on one socket.
#pragma once

#include <sys/types.h>

#include "exchange.h"

enum connection_state {
    WAITING,   // for the rest of a head, or for anything at all
    RECEIVING, // a body
    SENDING,   // a reply
    LINGERING, // for the peer to take the last reply and close
    CLOSED,
};

struct connection {
    int descriptor;
    enum connection_state state;
    unsigned watched; // the epoll events asked for
    uint64_t deadline;
    struct connection *next, *previous;
    struct buffer in; // what was received and not yet understood
    size_t scanned;
    struct exchange *exchange;
    void (*afterwards)(void); // when the peer has had its reply
};

// Something can be received, or sent. Afterwards `state` says what to wait for.
void connection_ready(struct connection *connection);
// The deadline has passed.
void connection_expired(struct connection *connection);
void connection_begin(struct connection *connection, int descriptor);
void connection_end(struct connection *connection); // frees what it has, closes the socket

static inline bool connection_is_idle(const struct connection *connection) {
    return connection->state == WAITING && !connection->in.used;
}

uint64_t now_ms(void);
