// TCP as a socket's protocol: what applications ask for (RFC 9293, section 3.10.1 to 3.10.6, in the
// words of POSIX and with the errors of Linux).
//
// Invariant: socket->connection is there from create to close. Nothing here waits: -EAGAIN, and
// socket_readable or socket_writable when it is worth another try.

#include "tcp.h"

#include <netinet/in.h>
#include <sys/ioctl.h>

#include "layers.h"

#define SEND_LIMIT (1U << 16) // to begin with; it grows with the congestion window
#define LIMIT_LEAST (1U << 12)

static struct tcp_connection *connection_of(const struct socket *socket) {
    return socket->connection;
}

static bool is_open(const struct tcp_connection *c) { // for the application to send
    return c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT;
}

static bool is_connecting(const struct tcp_connection *c) {
    return c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECV;
}

// --- Birth and death ---

static int create(struct socket *socket) {
    struct tcp_connection *c = tcp_new();

    if (!c)
        return -ENOMEM;
    c->socket = socket;
    socket->connection = c;
    return 0;
}

// What was not read, and SO_LINGER with no time, make it a RST (RFC 9293, section 3.6; RFC 2525).
static void close_socket(struct socket *socket) {
    struct tcp_connection *c = connection_of(socket);
    bool abrupt =
        (socket->linger.l_onoff && socket->linger.l_linger == 0) || tcp_readable_bytes(c) > 0;

    if (c->state == TCP_LISTEN || c->state == TCP_SYN_SENT)
        tcp_done(c, 0);
    else if (abrupt)
        tcp_abort(c, 0);
    else if (c->state != TCP_CLOSE)
        tcp_fin_queue(c);
    tcp_detach(c);
    tcp_settle(c);
}

static int shut(struct socket *socket, int how) {
    struct tcp_connection *c = connection_of(socket);

    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        return -EINVAL;
    if (c->state == TCP_LISTEN && how != SHUT_WR) {
        tcp_done(c, 0); // wakes who waits for connections
        return 0;
    }
    if (c->state == TCP_SYN_SENT) {
        tcp_done(c, ECONNRESET);
        return 0;
    }
    if (c->state == TCP_CLOSE || c->state == TCP_LISTEN)
        return -ENOTCONN;
    if (how != SHUT_RD)
        tcp_fin_queue(c);
    if (how != SHUT_WR)
        c->read_shut = true;
    tcp_settle(c);
    socket_readable(socket);
    socket_writable(socket);
    return 0;
}

// --- Addresses ---

static int read_address(const struct sockaddr *address, socklen_t size, struct sockaddr_in *out) {
    if (size < sizeof(*out))
        return -EINVAL;
    memcpy(out, address, sizeof(*out));
    return out->sin_family == AF_INET ? 0 : -EAFNOSUPPORT;
}

static int bind_socket(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct tcp_connection *c = connection_of(socket);
    struct sockaddr_in in;
    int status = read_address(address, size, &in);

    if (status < 0)
        return status;
    if (c->state != TCP_CLOSE || c->bound)
        return -EINVAL;
    ipv4_address at = in.sin_addr.s_addr;
    if (at && !ipv4_is_loopback(at) && !interface_of_address(at))
        return -EADDRNOTAVAIL;
    return tcp_port_take(c, at, in.sin_port);
}

static int name(struct socket *socket, bool peer, struct sockaddr_storage *out, socklen_t *size) {
    const struct tcp_connection *c = connection_of(socket);
    struct sockaddr_in in = {.sin_family = AF_INET};

    if (peer && (c->state == TCP_CLOSE || c->state == TCP_LISTEN || c->state == TCP_SYN_SENT))
        return -ENOTCONN;
    in.sin_addr.s_addr = peer ? c->remote : c->local;
    in.sin_port = peer ? c->remote_port : c->local_port;
    memcpy(out, &in, sizeof(in));
    *size = sizeof(in);
    return 0;
}

// --- Connections ---

static int begin(struct tcp_connection *c, const struct sockaddr_in *to) {
    tcp_prepare(c);
    if (!c->bound) { // an earlier attempt chose these
        c->local = 0;
        c->local_port = 0;
    }
    c->remote = to->sin_addr.s_addr ? to->sin_addr.s_addr : swap32(0x7f000001);
    c->remote_port = to->sin_port;
    if (c->remote == UINT32_MAX || ipv4_is_multicast(c->remote))
        return -ENETUNREACH;
    int status = tcp_find_path(c);
    if (status < 0)
        return status;
    if (!c->local_port)
        status = tcp_port_choose(c);
    else if (tcp_find(c->local, c->local_port, c->remote, c->remote_port))
        status = -EADDRNOTAVAIL;
    return status;
}

static int begin_to_connect(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct tcp_connection *c = connection_of(socket);
    struct sockaddr_in to;

    if (size >= sizeof(address->sa_family) && address->sa_family == AF_UNSPEC) {
        tcp_abort(c, 0); // undoes a connection
        return 0;
    }
    int status = read_address(address, size, &to);
    if (status < 0)
        return status;
    if (is_connecting(c))
        return -EALREADY;
    if (c->state != TCP_CLOSE)
        return -EISCONN;
    tcp_ring_clear(&c->rcv.ring); // of an earlier connection
    status = begin(c, &to);
    if (status < 0)
        return status;
    tcp_choose_sequence(c, NULL);
    tcp_set_mss(c);
    tcp_table_add(c);
    c->state = TCP_SYN_SENT;
    c->snd.progress = network_now();
    tcp_send_syn(c);
    return -EINPROGRESS;
}

static int start_listening(struct socket *socket, int backlog) {
    struct tcp_connection *c = connection_of(socket);

    if (c->state != TCP_CLOSE && c->state != TCP_LISTEN)
        return -EINVAL;
    int status = c->bound ? 0 : tcp_port_take(c, 0, 0);
    if (status == 0 && c->state == TCP_CLOSE && tcp_somebody_listens(c))
        status = -EADDRINUSE;
    return status < 0 ? status : tcp_listen(c, backlog);
}

static int accept_one(struct socket *socket, struct socket **out) {
    struct tcp_connection *listening = connection_of(socket);

    if (listening->state != TCP_LISTEN)
        return -EINVAL;
    if (list_empty(&listening->listener->ready))
        return -EAGAIN;
    struct socket *made = socket_new(&tcp_protocol);
    if (!made)
        return -ENOMEM;
    struct tcp_connection *c = tcp_listen_take(listening);
    made->connection = c;
    made->linger = socket->linger;
    made->ip = socket->ip;
    made->keep_alive = socket->keep_alive;
    made->reuse_address = socket->reuse_address;
    made->reuse_port = socket->reuse_port;
    made->receive_buffer = socket->receive_buffer;
    made->send_buffer = socket->send_buffer;
    made->receive_low = socket->receive_low;
    c->socket = made;
    tcp_keep_alive(c);
    if (c->state == TCP_CLOSE) // it has come and gone
        made->error = c->soft_error;
    *out = made;
    return 0;
}

// --- Data ---

u32 tcp_send_limit(const struct tcp_connection *c) {
    u32 limit = c->socket->send_buffer;

    if (!limit)
        limit = MAX(2 * c->congestion.window, SEND_LIMIT);
    return MAX(MIN(limit, TCP_RING_MOST), LIMIT_LEAST);
}

// Written, not acknowledged; neither the SYN nor the FIN counts.
static u32 bytes_kept(const struct tcp_connection *c) {
    return c->snd.end - tcp_earlier(tcp_later(c->snd.una, c->snd.iss + 1), c->snd.end);
}

static u32 send_room(const struct tcp_connection *c) {
    u32 limit = tcp_send_limit(c);
    return limit - MIN(bytes_kept(c), limit);
}

static long write_ring(struct tcp_connection *c, struct message *message) {
    u32 size = (u32)MIN(message_left(message), (size_t)send_room(c)), done = 0;
    bool empty = bytes_kept(c) == 0;

    if (size == 0)
        return -EAGAIN;
    size = tcp_ring_reserve(&c->snd.ring, c->snd.end, size);
    if (size == 0)
        return empty ? -ENOBUFS : -EAGAIN; // nobody would wake us if nothing was on its way
    while (done < size) {
        u32 piece = size - done;
        u8 *to = tcp_ring_piece(&c->snd.ring, c->snd.end, &piece);
        if (message_read(message, to, piece) < 0)
            return done > 0 ? (long)done : -EFAULT;
        c->snd.end += piece;
        done += piece;
    }
    return (long)done;
}

static long send_message(struct socket *socket, struct message *message) {
    struct tcp_connection *c = connection_of(socket);

    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (is_connecting(c))
        return -EAGAIN;
    if (!is_open(c) || c->snd.fin)
        return -EPIPE;
    if (message_left(message) == 0)
        return 0;
    long done = write_ring(c, message);
    c->more = message->flags & MSG_MORE || (c->more && done < 0);
    tcp_settle(c);
    return done;
}

u32 tcp_readable_bytes(const struct tcp_connection *c) {
    return c->rcv.nxt - c->rcv.read - c->rcv.fin;
}

static void consume(struct tcp_connection *c, u32 size) {
    if (size == tcp_readable_bytes(c) && !c->rcv.early)
        tcp_ring_clear(&c->rcv.ring);
    else
        tcp_ring_release(&c->rcv.ring, c->rcv.read, c->rcv.read + size);
    c->rcv.read += size;
    tcp_window_opened(c);
    tcp_settle(c);
}

static long receive_message(struct socket *socket, struct message *message) {
    struct tcp_connection *c = connection_of(socket);
    u32 there = tcp_readable_bytes(c), size = (u32)MIN(message_left(message), (size_t)there);
    bool discard = message->flags & MSG_TRUNC, fault = false;

    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (c->state == TCP_LISTEN || (c->state == TCP_CLOSE && !c->rcv.irs && !socket->error))
        return -ENOTCONN;
    if (there == 0)
        return c->rcv.fin || c->read_shut || c->state == TCP_CLOSE ? 0 : -EAGAIN;
    u32 done = discard ? size : 0;
    while (done < size && !fault) {
        u32 piece = size - done;
        const u8 *from = tcp_ring_piece(&c->rcv.ring, c->rcv.read + done, &piece);
        fault = message_write(message, from, piece) < 0;
        done += fault ? 0 : piece;
    }
    if (!(message->flags & MSG_PEEK))
        consume(c, done);
    return done == 0 && fault ? -EFAULT : (long)done;
}

// --- How it is ---

static unsigned ready(struct socket *socket) {
    const struct tcp_connection *c = connection_of(socket);
    unsigned is = 0;

    if (c->state == TCP_LISTEN)
        return list_empty(&c->listener->ready) ? 0 : POLLIN | POLLRDNORM;
    if (is_connecting(c))
        return 0;
    if (c->state == TCP_CLOSE)
        return POLLOUT | POLLWRNORM | POLLHUP |
               (c->rcv.irs || socket->error ? POLLIN | POLLRDNORM | POLLRDHUP : 0);
    bool ended = c->rcv.fin || c->read_shut;
    if (ended || tcp_readable_bytes(c) >= MAX(socket->receive_low, 1U))
        is |= POLLIN | POLLRDNORM;
    if (ended)
        is |= POLLRDHUP | (c->snd.fin ? POLLHUP : 0);
    if (c->snd.fin || send_room(c) >= tcp_send_limit(c) / 3)
        is |= POLLOUT | POLLWRNORM;
    return is;
}

static long control(struct socket *socket, unsigned command, u64 argument) {
    const struct tcp_connection *c = connection_of(socket);
    int count;

    if (c->state == TCP_LISTEN)
        return -EINVAL;
    switch (command) {
    case FIONREAD:
        count = (int)tcp_readable_bytes(c);
        break;
    case TIOCOUTQ:
        count = c->state == TCP_CLOSE ? 0 : (int)bytes_kept(c);
        break;
    default:
        return -ENOTTY;
    }
    return user_write((void *)argument, &count, sizeof(count));
}

const struct protocol tcp_protocol = {
    .domain = AF_INET,
    .type = SOCK_STREAM,
    .number = IPPROTO_TCP,
    .create = create,
    .close = close_socket,
    .bind = bind_socket,
    .connect = begin_to_connect,
    .listen = start_listening,
    .accept = accept_one,
    .send = send_message,
    .receive = receive_message,
    .shutdown = shut,
    .name = name,
    .poll = ready,
    .set_option = tcp_set_option,
    .get_option = tcp_get_option,
    .ioctl = control,
};
