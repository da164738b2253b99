// AF_UNIX streams: bytes go into the ring of the other end. Files that travel with them hang on a
// mark at the place in the stream where they were sent (unix(7), SCM_RIGHTS).
//
// Invariant: marks are in the order of their positions, and the ring still has the first byte of
// each. One receive goes neither into the bytes of a mark nor out of them, so that files come with
// the bytes they were sent with.

#include "unix.h"

#include "control.h"
#include "memory.h"

static void discard_mark(struct unix_mark *mark) {
    rights_put_aside(mark->rights);
    list_remove(&mark->link);
    kfree(mark);
}

void unix_stream_discard(struct unix_socket *u) {
    while (!list_empty(&u->marks))
        discard_mark(LIST_FIRST(&u->marks, struct unix_mark, link));
    ring_free(&u->ring);
}

// --- Sending ---

static int may_send(const struct unix_socket *u, const struct message *message) {
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (message->address_size != 0)
        return u->connected ? -EISCONN : -EOPNOTSUPP;
    if (!u->connected)
        return -ENOTCONN;
    return u->shut_write || u->peer == NULL ? -EPIPE : 0;
}

static int make_mark(struct unix_socket *to, struct control *control, struct unix_mark **out) {
    int status = unix_check_rights(to, control->rights);
    if (status < 0)
        return status;
    struct unix_mark *mark = kzalloc(sizeof(*mark));
    if (mark == NULL)
        return -ENOMEM;
    list_init(&mark->link);
    mark->position = to->ring.head;
    *out = mark;
    return 0;
}

static int put_in(struct ring *ring, struct message *message) {
    size_t left = MIN(message_left(message), ring_room(ring));
    while (left > 0) {
        size_t piece = left;
        u8 *bytes = ring_piece(ring, ring->head, &piece, true);
        int status = bytes == NULL ? -ENOMEM : message_read(message, bytes, piece);
        if (status < 0)
            return status;
        ring->head += piece;
        left -= piece;
    }
    return 0;
}

long unix_stream_send(struct socket *socket, struct message *message) {
    struct unix_socket *u = unix_of(socket), *to = u->peer;
    struct control *control = message->control;
    struct unix_mark *mark = NULL;
    int status = may_send(u, message);
    if (status < 0)
        return status;
    if (message_left(message) == 0)
        return 0;
    if (ring_room(&to->ring) == 0) {
        unix_wait_for(u, to);
        return -EAGAIN;
    }
    if (control != NULL && control->rights != NULL)
        status = make_mark(to, control, &mark);
    size_t before = message->done;
    if (status == 0)
        status = put_in(&to->ring, message);
    bool moved = message->done > before;
    if (mark != NULL && moved) {
        mark->end = to->ring.head;
        mark->rights = control->rights;
        control->rights = NULL;
        list_append(&to->marks, &mark->link);
    } else {
        kfree(mark);
    }
    if (moved)
        socket_readable(to->socket);
    return moved ? (long)(message->done - before) : status;
}

// --- Receiving ---

// How far one receive may go.
static u64 end_of_piece(const struct unix_socket *u) {
    const struct unix_mark *first = LIST_FIRST(&u->marks, struct unix_mark, link);
    if (first == NULL)
        return u->ring.head;
    return first->position > u->ring.tail ? first->position : first->end;
}

static int take_out(struct unix_socket *u, u64 from, u64 end, struct message *message) {
    while (from < end && message_left(message) > 0) {
        size_t piece = MIN(end - from, message_left(message));
        const u8 *bytes = ring_piece(&u->ring, from, &piece, false);
        int status = message_write(message, bytes, piece);
        if (status < 0)
            return status;
        from += piece;
    }
    return 0;
}

static void give_rights(struct unix_socket *u, struct message *message) {
    struct unix_mark *mark = LIST_FIRST(&u->marks, struct unix_mark, link);
    if (mark == NULL || mark->position >= u->ring.tail)
        return;
    if (message->control != NULL && message->control->rights == NULL) {
        message->control->rights = mark->rights;
        mark->rights = NULL;
    }
    discard_mark(mark);
}

static void tell_room(struct unix_socket *u) {
    if (ring_room(&u->ring) < UNIX_ROOM / 4)
        return;
    unix_has_room(u);
    if (u->peer != NULL)
        socket_writable(u->peer->socket);
}

long unix_stream_receive(struct socket *socket, struct message *message) {
    struct unix_socket *u = unix_of(socket);
    if (!u->connected)
        return -EINVAL;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (ring_used(&u->ring) == 0)
        return u->shut_read ? 0 : -EAGAIN;
    if (message_left(message) == 0)
        return 0;
    size_t before = message->done;
    int status = take_out(u, u->ring.tail, end_of_piece(u), message);
    size_t moved = message->done - before;
    if (moved == 0)
        return status;
    unix_tell_credentials(u, message, u->peer_pid);
    if (!(message->flags & MSG_PEEK)) {
        u->ring.tail += moved;
        give_rights(u, message);
        ring_rewind(&u->ring);
        tell_room(u);
    }
    return (long)moved;
}
