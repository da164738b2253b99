// AF_UNIX datagrams and sequenced packets: messages stay whole (unix(7)).
//
// Invariant: `bytes` is the memory of all messages that wait, at most the sender's SO_SNDBUF when
// one was put there. An empty message counts, too.

#include "unix.h"

#include <string.h>

#include "control.h"
#include "memory.h"
#include "thread.h"

#define OVERHEAD 256UL // of a message, as it is counted
#define FILE_COSTS 64UL

static void discard(struct unix_socket *u, struct unix_message *m) {
    u->bytes -= m->memory;
    rights_put_aside(m->rights);
    list_remove(&m->link);
    kfree(m);
}

void unix_message_discard(struct unix_socket *u) {
    while (!list_empty(&u->messages))
        discard(u, LIST_FIRST(&u->messages, struct unix_message, link));
}

// --- Sending ---

static int find_receiver(struct unix_socket *u, const struct message *message,
                         struct unix_socket **out) {
    if (u->socket->protocol->type == SOCK_SEQPACKET) {
        if (!u->connected)
            return -ENOTCONN;
        *out = u->peer;
        return u->shut_write || u->peer == NULL ? -EPIPE : 0;
    }
    if (u->shut_write)
        return -EPIPE;
    if (message->address_size != 0) {
        int status = unix_find((const void *)&message->address, message->address_size,
                               u->socket->protocol, out);
        if (status < 0)
            return status;
    } else if (u->peer == NULL) {
        int status = u->refused ? -ECONNREFUSED : -ENOTCONN;
        u->refused = false;
        return status;
    } else {
        *out = u->peer;
    }
    if ((*out)->shut_read)
        return -EPIPE;
    return (*out)->peer != NULL && (*out)->peer != u ? -EPERM : 0;
}

static int make_message(const struct unix_socket *u, struct message *message,
                        struct unix_message **out) {
    struct unix_message *m = kzalloc(sizeof(*m) + message->size);
    if (m == NULL)
        return -ENOMEM;
    int status = message_read(message, m->data, message->size);
    if (status < 0) {
        kfree(m);
        return status;
    }
    list_init(&m->link);
    m->from = u->name;
    m->from_size = u->name_size;
    m->pid = current_process()->pid;
    m->size = message->size;
    *out = m;
    return 0;
}

static size_t memory_of(const struct message *message) {
    const struct control *control = message->control;
    size_t files = control == NULL || control->rights == NULL ? 0 : control->rights->count;
    return message->size + OVERHEAD + files * FILE_COSTS;
}

long unix_message_send(struct socket *socket, struct message *message) {
    struct unix_socket *u = unix_of(socket), *to;
    struct control *control = message->control;
    struct unix_message *m = NULL;
    size_t limit = socket->send_buffer != 0 ? socket->send_buffer : UNIX_ROOM;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    int status = find_receiver(u, message, &to);
    if (status < 0)
        return status;
    if (message->size > limit - 32) // as Linux, which has some use of its own for these
        return -EMSGSIZE;
    size_t memory = memory_of(message);
    if (to->bytes > 0 && to->bytes + memory > limit) {
        unix_wait_for(u, to);
        return -EAGAIN;
    }
    if (control != NULL && control->rights != NULL)
        status = unix_check_rights(to, control->rights);
    if (status == 0)
        status = make_message(u, message, &m);
    if (status < 0)
        return status;
    m->memory = memory;
    if (control != NULL) {
        m->rights = control->rights;
        control->rights = NULL;
    }
    to->bytes += memory;
    list_append(&to->messages, &m->link);
    socket_readable(to->socket);
    return (long)m->size;
}

// --- Receiving ---

static void tell(const struct unix_socket *u, struct unix_message *m, struct message *message) {
    if (m->from_size != 0) {
        memcpy(&message->address, &m->from, sizeof(m->from));
        message->address_size = m->from_size;
    }
    unix_tell_credentials(u, message, m->pid);
    if (message->control != NULL && !(message->flags & MSG_PEEK)) {
        message->control->rights = m->rights;
        m->rights = NULL;
    }
}

long unix_message_receive(struct socket *socket, struct message *message) {
    struct unix_socket *u = unix_of(socket);
    struct unix_message *m = LIST_FIRST(&u->messages, struct unix_message, link);
    bool sequenced = socket->protocol->type == SOCK_SEQPACKET;
    if (sequenced && !u->connected)
        return -ENOTCONN;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (m == NULL)
        return u->shut_read ? 0 : -EAGAIN;
    size_t size = m->size;
    tell(u, m, message);
    int status = message_write(message, m->data, size);
    if (message->size < size)
        message->flags_out |= MSG_TRUNC;
    if (!(message->flags & MSG_PEEK)) {
        discard(u, m);
        unix_has_room(u);
    }
    return status < 0 ? status : (long)(message->flags & MSG_TRUNC ? size : message->done);
}
