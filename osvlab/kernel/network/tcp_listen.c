// Listening: SYNs become half-open connections, those become connections to accept
// (RFC 9293, section 3.10.7.2).
//
// Invariant: at most HALF_OPEN_MOST connections are half open per listener, and at most backlog + 1
// wait to be accepted. A SYN that finds the half-open ones at their bound pushes out the oldest: an
// attacker who never answers would hold every place for a minute if new ones were refused, but an
// honest peer needs its place for one round trip only. While the queue to accept is full, new SYNs
// are dropped instead: the peer tries again, and by then there may be room.

#include "tcp.h"

#define HALF_OPEN_MOST 256U
#define BACKLOG_MOST 4096

int tcp_listen(struct tcp_connection *c, int backlog) {
    u32 bounded = backlog < 0 || backlog > BACKLOG_MOST ? BACKLOG_MOST : (u32)backlog;

    if (c->state == TCP_LISTEN) {
        c->listener->backlog = bounded;
        return 0;
    }
    struct tcp_listener *listener = kzalloc(sizeof(*listener));
    if (!listener)
        return -ENOMEM;
    list_init(&listener->half_open);
    list_init(&listener->ready);
    listener->backlog = bounded;
    c->listener = listener;
    c->state = TCP_LISTEN;
    return 0;
}

void tcp_listen_leave(struct tcp_connection *child) {
    struct tcp_listener *listener = child->listener;

    if (child->state == TCP_SYN_RECV)
        listener->half_open_count--;
    else
        listener->ready_count--;
    list_remove(&child->link);
    child->listener = NULL;
}

static void end_all(struct list *children) {
    struct tcp_connection *child;

    while ((child = LIST_FIRST(children, struct tcp_connection, link))) {
        tcp_abort(child, 0);
        if (child->listener)
            tcp_listen_leave(child);
        tcp_settle(child);
    }
}

void tcp_unlisten(struct tcp_connection *c) {
    end_all(&c->listener->half_open);
    end_all(&c->listener->ready);
    kfree(c->listener);
    c->listener = NULL;
}

bool tcp_listen_full(const struct tcp_connection *child) {
    return child->listener->ready_count > child->listener->backlog;
}

// The listener of a child is found by its queues' owner: the one that listens on its port.
static struct tcp_connection *parent_of(const struct tcp_connection *child) {
    LIST_EACH(&tcp_bound, c, struct tcp_connection, link) {
        if (c->state == TCP_LISTEN && c->listener == child->listener)
            return c;
    }
    return NULL;
}

// Established, and not half open any more.
void tcp_listen_ready(struct tcp_connection *child) {
    struct tcp_listener *listener = child->listener;

    list_remove(&child->link);
    listener->half_open_count--;
    list_append(&listener->ready, &child->link);
    listener->ready_count++;
    struct tcp_connection *parent = parent_of(child);
    if (parent && parent->socket)
        socket_readable(parent->socket);
}

struct tcp_connection *tcp_listen_take(struct tcp_connection *listening) {
    struct tcp_connection *child =
        LIST_FIRST(&listening->listener->ready, struct tcp_connection, link);

    if (child)
        tcp_listen_leave(child);
    return child;
}

static void inherit(struct tcp_connection *child, const struct tcp_connection *parent) {
    child->no_delay = parent->no_delay;
    child->cork = parent->cork;
    child->mss_user = parent->mss_user;
    child->keep_idle = parent->keep_idle;
    child->keep_interval = parent->keep_interval;
    child->keep_count = parent->keep_count;
    child->user_timeout = parent->user_timeout;
    child->fin_timeout = parent->fin_timeout;
    child->reuse_address = parent->socket->reuse_address;
    child->reuse_port = parent->socket->reuse_port;
    if (parent->socket->receive_buffer)
        child->rcv.limit = MIN(parent->socket->receive_buffer, TCP_RING_MOST);
    child->syn_retries = 5; // of the SYN-ACK
}

static bool make_child(struct tcp_connection *listening, const struct packet *packet,
                       const struct tcp_segment *s, const u32 *above) {
    const struct tcp_header *header = (const void *)packet->data;
    struct tcp_listener *listener = listening->listener;
    struct tcp_connection *c = tcp_new();

    if (!c)
        return false;
    inherit(c, listening);
    c->local = packet->destination;
    c->remote = packet->source;
    c->local_port = header->destination;
    c->remote_port = header->source;
    if (tcp_find_path(c) < 0) {
        tcp_settle(c); // frees it
        return false;
    }
    tcp_choose_sequence(c, above);
    tcp_take_syn(c, s);
    c->state = TCP_SYN_RECV;
    c->listener = listener;
    list_append(&listener->half_open, &c->link);
    listener->half_open_count++;
    tcp_table_add(c);
    tcp_send_syn(c);
    return true;
}

// `above`: the sequence numbers of an earlier connection, still in TIME_WAIT, to keep away from.
void tcp_listen_segment(struct tcp_connection *listening, const struct packet *packet,
                        const struct tcp_segment *s, const u32 *above) {
    struct tcp_listener *listener = listening->listener;

    if (s->flags & TH_RST)
        return;
    if (s->flags & TH_ACK) {
        tcp_refuse(packet, s);
        return;
    }
    if (!(s->flags & TH_SYN) || s->flags & TH_FIN || listener->ready_count > listener->backlog)
        return;
    if (listener->half_open_count >= HALF_OPEN_MOST) {
        struct tcp_connection *oldest =
            LIST_FIRST(&listener->half_open, struct tcp_connection, link);
        tcp_done(oldest, 0);
        tcp_settle(oldest);
    }
    make_child(listening, packet, s, above);
}
