// AF_UNIX sockets: how they are made, connected and closed (unix(7)).
//
// Invariant: see unix.h. A connection has two ends that know each other; what is sent goes straight
// into the other end's queue, so there is no network in it at all, only the network's lock.

#include "unix.h"

#include <sys/ioctl.h>

#include "control.h"
#include "memory.h"
#include "thread.h"
#include "user.h"

#define STREAM_PAGES (UNIX_ROOM / PAGE_SIZE)

static struct list all = LIST(all);

static bool is_datagram(const struct unix_socket *u) {
    return u->socket->protocol->type == SOCK_DGRAM;
}

static bool is_stream(const struct unix_socket *u) {
    return u->socket->protocol->type == SOCK_STREAM;
}

// --- Who waits for whom ---

void unix_wait_for(struct unix_socket *u, struct unix_socket *other) {
    list_remove(&u->in_waiting);
    list_append(&other->waiting, &u->in_waiting);
}

void unix_has_room(struct unix_socket *u) {
    struct unix_socket *waiting;
    while ((waiting = LIST_FIRST(&u->waiting, struct unix_socket, in_waiting)) != NULL) {
        list_remove(&waiting->in_waiting);
        waiting->socket->no_room = true;
        socket_writable(waiting->socket);
    }
}

static void set_peer(struct unix_socket *u, struct unix_socket *peer) {
    list_remove(&u->in_clients);
    list_remove(&u->in_waiting);
    u->peer = peer;
    u->refused = false;
    if (peer != NULL)
        list_append(&peer->clients, &u->in_clients);
}

static void join(struct unix_socket *a, struct unix_socket *b) {
    set_peer(a, b);
    set_peer(b, a);
    a->connected = b->connected = !is_datagram(a);
    a->peer_pid = b->pid;
    b->peer_pid = a->pid;
}

// --- Birth ---

static int unix_create(struct socket *socket) {
    struct unix_socket *u = kzalloc(sizeof(*u));
    if (u == NULL || (socket->protocol->type == SOCK_STREAM && ring_init(&u->ring, STREAM_PAGES))) {
        kfree(u);
        return -ENOMEM;
    }
    struct list *lists[] = {&u->clients,  &u->in_clients, &u->waiting,  &u->in_waiting,
                            &u->in_names, &u->queue,      &u->in_queue, &u->marks,
                            &u->messages, &u->in_search};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        list_init(lists[i]);
    list_append(&all, &u->in_all);
    u->socket = socket;
    u->pid = current_process()->pid;
    socket->connection = u;
    return 0;
}

static int unix_pair(struct socket *socket, struct socket *other) {
    join(unix_of(socket), unix_of(other));
    return 0;
}

// --- Connecting ---

static int unix_listen(struct socket *socket, int backlog) {
    struct unix_socket *u = unix_of(socket);
    if (u->connected || u->name_size == 0)
        return -EINVAL;
    u->listening = true;
    u->backlog = (unsigned)backlog;
    u->pid = current_process()->pid;
    unix_has_room(u);
    return 0;
}

// The listener gets a socket that is already connected to ours, to be accepted some time.
static int connect_to_listener(struct unix_socket *u, struct unix_socket *listener) {
    if (!listener->listening || listener->shut_read)
        return -ECONNREFUSED;
    if (listener->queued > listener->backlog) {
        unix_wait_for(u, listener);
        return -EAGAIN;
    }
    struct socket *socket = socket_new(listener->socket->protocol);
    if (socket == NULL)
        return -ENOMEM;
    if (unix_create(socket) < 0) {
        socket_free(socket);
        return -ENOMEM;
    }
    struct unix_socket *end = unix_of(socket);
    end->name = listener->name;
    end->name_size = listener->name_size;
    end->pid = listener->pid;
    end->tells_credentials = listener->tells_credentials;
    join(u, end);
    list_append(&listener->queue, &end->in_queue);
    listener->queued++;
    socket_readable(listener->socket);
    return 0;
}

static int unix_stream_connect(struct socket *socket, const struct sockaddr *address,
                               socklen_t size) {
    struct unix_socket *u = unix_of(socket), *listener;
    int status = unix_find(address, size, socket->protocol, &listener);
    if (status == 0 && u->connected)
        status = -EISCONN;
    if (status == 0 && u->listening)
        status = -EINVAL;
    return status < 0 ? status : connect_to_listener(u, listener);
}

// A datagram socket that has a peer takes messages from nobody else.
static int unix_datagram_connect(struct socket *socket, const struct sockaddr *address,
                                 socklen_t size) {
    struct unix_socket *u = unix_of(socket), *other;
    if (address->sa_family == AF_UNSPEC) {
        set_peer(u, NULL);
        return 0;
    }
    int status = unix_find(address, size, socket->protocol, &other);
    if (status == 0 && other->peer != NULL && other->peer != u)
        status = -EPERM;
    if (status == 0)
        set_peer(u, other);
    return status;
}

static int unix_accept(struct socket *socket, struct socket **out) {
    struct unix_socket *u = unix_of(socket);
    if (!u->listening || u->shut_read)
        return -EINVAL;
    struct unix_socket *end = LIST_FIRST(&u->queue, struct unix_socket, in_queue);
    if (end == NULL)
        return -EAGAIN;
    list_remove(&end->in_queue);
    u->queued--;
    unix_has_room(u);
    *out = end->socket;
    return 0;
}

// --- The end ---

static void say_changed(struct unix_socket *u) {
    u->socket->no_room = true;
    socket_readable(u->socket);
    socket_writable(u->socket);
}

static int unix_shutdown(struct socket *socket, int how) {
    struct unix_socket *u = unix_of(socket), *peer = u->peer;
    bool read = how != SHUT_WR, write = how != SHUT_RD;
    u->shut_read |= read;
    u->shut_write |= write;
    if (peer != NULL && !is_datagram(u)) {
        peer->shut_read |= write;
        peer->shut_write |= read;
        say_changed(peer);
    }
    unix_has_room(u);
    return 0;
}

// `reset`: something was on its way to us, and we did not read it.
static void leave_peers(struct unix_socket *u, bool reset) {
    struct unix_socket *client;
    while ((client = LIST_FIRST(&u->clients, struct unix_socket, in_clients)) != NULL) {
        set_peer(client, NULL);
        if (is_datagram(client)) {
            client->refused = true;
        } else {
            client->shut_read = client->shut_write = true;
            client->socket->error = reset ? ECONNRESET : client->socket->error;
        }
        say_changed(client);
    }
    set_peer(u, NULL);
}

static void unix_close(struct socket *socket) {
    struct unix_socket *u = unix_of(socket), *end;
    unix_forget_name(u);
    while ((end = LIST_FIRST(&u->queue, struct unix_socket, in_queue)) != NULL) {
        list_remove(&end->in_queue); // connected, but never accepted: nothing is in it but what
        leave_peers(end, true);      // nobody will read
        struct socket *accepted = end->socket;
        unix_close(accepted);
        socket_free(accepted);
    }
    leave_peers(u, ring_used(&u->ring) > 0 || !list_empty(&u->messages));
    unix_has_room(u); // they find out that we are gone
    unix_stream_discard(u);
    unix_message_discard(u);
    list_remove(&u->in_all);
    kfree(u);
}

// --- Looking ---

void unix_each(void (*visit)(struct unix_socket *, void *), void *argument) {
    LIST_EACH(&all, u, struct unix_socket, in_all)
    visit(u, argument);
}

// A stream has room when at least a quarter of it is free, so that writers wake up seldom.
static bool has_room(const struct unix_socket *u) {
    if (!list_empty(&u->in_waiting))
        return false;
    return !is_stream(u) || u->peer == NULL || ring_room(&u->peer->ring) >= UNIX_ROOM / 4;
}

unsigned unix_poll(struct socket *socket) {
    const struct unix_socket *u = unix_of(socket);
    unsigned ready = 0;
    if (u->listening)
        return u->queued > 0 ? POLLIN | POLLRDNORM : 0;
    if (ring_used(&u->ring) > 0 || !list_empty(&u->messages) || u->shut_read)
        ready |= POLLIN | POLLRDNORM;
    if (u->shut_read)
        ready |= POLLRDHUP;
    if ((u->shut_read && u->shut_write) || (!is_datagram(u) && !u->connected))
        ready |= POLLHUP;
    if (has_room(u))
        ready |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return ready;
}

static size_t waiting_bytes(const struct unix_socket *u) {
    const struct unix_message *first = LIST_FIRST(&u->messages, struct unix_message, link);
    return is_stream(u) ? ring_used(&u->ring) : first == NULL ? 0 : first->size;
}

static long unix_ioctl(struct socket *socket, unsigned command, u64 argument) {
    const struct unix_socket *u = unix_of(socket);
    int bytes;
    if (command == FIONREAD && u->listening)
        return -EINVAL;
    if (command == FIONREAD)
        bytes = (int)waiting_bytes(u);
    else if (command == TIOCOUTQ)
        bytes = u->peer == NULL || !is_stream(u) ? 0 : (int)ring_used(&u->peer->ring);
    else
        return -ENOTTY;
    return user_write((void *)(uintptr_t)argument, &bytes, sizeof(bytes));
}

// --- Options ---

void unix_tell_credentials(const struct unix_socket *u, struct message *message, int pid) {
    struct control *control = message->control;
    if (control == NULL || !u->tells_credentials)
        return;
    control->has_credentials = true;
    control->credentials = (struct ucred){.pid = pid};
}

static int unix_set_option(struct socket *socket, int level, int name, const void *value,
                           socklen_t size) {
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (name != SO_PASSCRED)
        return -ENOPROTOOPT;
    if (size < sizeof(int))
        return -EINVAL;
    unix_of(socket)->tells_credentials = *(const int *)value != 0;
    return 0;
}

static int unix_get_option(struct socket *socket, int level, int name, void *value,
                           socklen_t *size) {
    struct unix_socket *u = unix_of(socket);
    struct ucred *credentials = value;
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    switch (name) {
    case SO_PEERCRED: // everybody is root here
        *credentials = (struct ucred){.pid = u->listening ? u->pid : u->peer_pid};
        if (credentials->pid == 0)
            credentials->uid = credentials->gid = (u32)-1;
        *size = MIN(*size, (socklen_t)sizeof(*credentials));
        return 0;
    case SO_PASSCRED:
        *(int *)value = u->tells_credentials;
        *size = MIN(*size, (socklen_t)sizeof(int));
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

#define COMMON                                                                          \
    .domain = AF_UNIX, .create = unix_create, .close = unix_close, .bind = unix_bind,   \
    .pair = unix_pair, .shutdown = unix_shutdown, .name = unix_name, .poll = unix_poll, \
    .set_option = unix_set_option, .get_option = unix_get_option, .ioctl = unix_ioctl

const struct protocol unix_stream_protocol = {
    COMMON,
    .type = SOCK_STREAM,
    .connect = unix_stream_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .send = unix_stream_send,
    .receive = unix_stream_receive,
};

const struct protocol unix_packet_protocol = {
    COMMON,
    .type = SOCK_SEQPACKET,
    .connect = unix_stream_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .send = unix_message_send,
    .receive = unix_message_receive,
};

const struct protocol unix_datagram_protocol = {
    COMMON,
    .type = SOCK_DGRAM,
    .connect = unix_datagram_connect,
    .send = unix_message_send,
    .receive = unix_message_receive,
};
