// Connections: see connection.h.
//
// Invariant: a connection that waits for a request holds no memory but this structure. Whatever is
// in progress has a deadline, which every byte pushes back a little: at less than about a
// kilobyte a second a peer is cut off.

#include "connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "settings.h"

#define TRANSIT 65536
#define FILE_ROUNDS 4 // pieces of a file sent before others have their turn
#define LINGER_MS 2000
#define BYTE_WORTH 1 // milliseconds that a byte earns

// Shared by all connections: their contents never outlive a call.
static char received[TRANSIT], piece[TRANSIT];

uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void enter(struct connection *c, enum connection_state state, int ms) {
    c->state = state;
    c->deadline = now_ms() + (uint64_t)ms;
}

static void progressed(struct connection *c, size_t bytes) {
    uint64_t most = now_ms() + (uint64_t)settings.timeout * 1000;
    c->deadline += bytes * BYTE_WORTH;
    if (c->deadline > most)
        c->deadline = most;
}

void connection_begin(struct connection *c, int descriptor) {
    memset(c, 0, sizeof(*c));
    c->descriptor = descriptor;
    enter(c, WAITING, settings.idle_timeout * 1000);
}

void connection_end(struct connection *c) {
    if (c->exchange)
        exchange_free(c->exchange);
    c->exchange = NULL;
    buffer_free(&c->in);
    if (c->descriptor >= 0) {
        loop_unwatch(c->descriptor);
        close(c->descriptor);
    }
    c->descriptor = -1;
    c->state = CLOSED;
    if (c->afterwards)
        c->afterwards();
}

static void start_sending(struct connection *c) {
    exchange_reply(c->exchange);
    enter(c, SENDING, settings.timeout * 1000);
}

static void refuse(struct connection *c, int status, const char *why) {
    if (c->exchange)
        exchange_free(c->exchange);
    c->exchange = exchange_refuse(status, why);
    if (c->exchange)
        start_sending(c);
    else
        c->state = CLOSED;
}

static void invite_body(struct connection *c) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->exchange->head.expects_continue)
        (void)!send(c->descriptor, line, sizeof(line) - 1, MSG_NOSIGNAL);
}

// Looks for a head. Says how many bytes were understood.
static size_t take_head(struct connection *c, const char *bytes, size_t count) {
    unsigned char first = (unsigned char)*bytes;
    size_t size = head_end(bytes, count, &c->scanned);
    if (first >= 0x80 || (first < ' ' && first != '\r' && first != '\n')) {
        refuse(c, 400, "This is not HTTP");
        return count;
    }
    if (size > HEAD_LIMIT || (!size && count > HEAD_LIMIT)) {
        refuse(c, 431, "The head of the request is too large");
        return count;
    }
    if (!size) {
        if (!c->in.used) // it was idle until now
            enter(c, WAITING, settings.timeout * 1000);
        return 0;
    }
    c->scanned = 0;
    c->exchange = exchange_begin(bytes, size);
    if (!c->exchange) {
        c->state = CLOSED;
    } else if (c->exchange->body_done) {
        start_sending(c);
    } else {
        enter(c, RECEIVING, settings.timeout * 1000);
        invite_body(c);
    }
    return size;
}

static size_t take_body(struct connection *c, const char *bytes, size_t count) {
    size_t taken = exchange_feed(c->exchange, bytes, count);
    progressed(c, taken);
    if (c->exchange->body_done)
        start_sending(c);
    return taken;
}

static void finish(struct connection *c) {
    bool close_it = c->exchange->close;
    c->afterwards = c->exchange->call.reply.afterwards;
    exchange_free(c->exchange);
    c->exchange = NULL;
    enter(c, WAITING, (c->in.used ? settings.timeout : settings.idle_timeout) * 1000);
    if (close_it || c->afterwards) {
        shutdown(c->descriptor, SHUT_WR);
        enter(c, LINGERING, LINGER_MS);
    }
}

// Sends the head and the body that is in memory. True: all of it is gone.
static bool send_memory(struct connection *c) {
    struct exchange *x = c->exchange;
    struct buffer *parts[] = {&x->out, &x->call.reply.body};
    for (;;) {
        struct iovec pieces[2];
        struct msghdr message = {.msg_iov = pieces};
        size_t skip = x->sent;
        for (int i = 0; i < 2; i++) {
            size_t used = parts[i]->used;
            if (skip < used)
                pieces[message.msg_iovlen++] = (struct iovec){parts[i]->bytes + skip, used - skip};
            skip -= skip < used ? skip : used;
        }
        if (!message.msg_iovlen)
            return true;
        int more =
            x->call.reply.file_left ? MSG_MORE : 0; // a head alone would be acknowledged first
        ssize_t sent = sendmsg(c->descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (errno != EAGAIN)
                c->state = CLOSED;
            return false;
        }
        x->sent += (size_t)sent;
        progressed(c, (size_t)sent);
    }
}

// Sends pieces of a file; what the socket does not take is read again later.
static bool send_file(struct connection *c) {
    struct reply *reply = &c->exchange->call.reply;
    for (int round = 0; reply->file_left && round < FILE_ROUNDS; round++) {
        size_t wanted = reply->file_left < TRANSIT ? (size_t)reply->file_left : TRANSIT;
        ssize_t got = pread(reply->file, piece, wanted, (off_t)reply->file_at);
        if (got <= 0) { // it has shrunk: only the end of the connection can say so
            c->state = CLOSED;
            return false;
        }
        ssize_t sent = send(c->descriptor, piece, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR)
                c->state = CLOSED;
            return false;
        }
        reply->file_at += (uint64_t)sent;
        reply->file_left -= (uint64_t)sent;
        progressed(c, (size_t)sent);
    }
    return !reply->file_left;
}

static void send_some(struct connection *c) {
    if (send_memory(c) && send_file(c))
        finish(c);
}

// Understands as much as it can. Says how many bytes need not be kept.
static size_t understand(struct connection *c, const char *bytes, size_t count) {
    size_t at = 0;
    while (at < count && (c->state == WAITING || c->state == RECEIVING)) {
        size_t taken = c->state == WAITING ? take_head(c, bytes + at, count - at)
                                           : take_body(c, bytes + at, count - at);
        at += taken;
        if (c->state == SENDING)
            send_some(c);
        if (!taken)
            break;
    }
    return c->state == LINGERING || c->state == CLOSED ? count : at;
}

// What is left over from before, with nothing new.
static void understand_kept(struct connection *c) {
    if (c->in.used)
        buffer_drop(&c->in, understand(c, c->in.bytes, c->in.used));
}

static void receive(struct connection *c) {
    ssize_t got = recv(c->descriptor, received, TRANSIT, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        c->state = CLOSED;
        return;
    }
    size_t taken = 0;
    if (!c->in.used)
        taken = understand(c, received, (size_t)got);
    buffer_add(&c->in, received + taken, (size_t)got - taken);
    if (c->in.failed)
        c->state = CLOSED;
    else if (!taken)
        understand_kept(c);
}

void connection_ready(struct connection *c) {
    if (c->state == SENDING) {
        send_some(c);
        understand_kept(c);
    } else {
        receive(c);
        if (c->state == LINGERING)
            buffer_free(&c->in);
    }
}

void connection_expired(struct connection *c) {
    bool midway = c->state == RECEIVING || (c->state == WAITING && c->in.used);
    if (!midway) {
        c->state = CLOSED;
        return;
    }
    buffer_free(&c->in);
    refuse(c, 408, "The request did not come in time");
    if (c->state == SENDING)
        send_some(c);
}
