// Sockets between system calls and protocols: birth, death, and all waiting (socket(7)).
//
// Invariant: a protocol's operations run with the network lock held and never wait. Who has to
// wait remembers how often the socket's poll source has notified, gives the lock back, and sleeps
// until that number changes, so no change is missed. `ready` is what the protocol's poll operation
// said after the last change: poll and epoll read it without any lock.

#include "socket_layer.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "control.h"
#include "syscalls.h"
#include "thread.h"

static const struct protocol *const protocols[] = {&tcp_protocol,         &udp_protocol,
                                                   &unix_stream_protocol, &unix_datagram_protocol,
                                                   &unix_packet_protocol, &netlink_protocol};

struct socket *socket_new(const struct protocol *protocol) {
    struct socket *socket = kzalloc(sizeof(*socket));
    if (socket == NULL)
        return NULL;
    socket->protocol = protocol;
    socket->receive_timeout = socket->send_timeout = NEVER;
    socket->receive_low = 1;
    socket->ip.group_time_to_live = 1; // RFC 1112, section 6.1
    poll_source_init(&socket->readable, "socket readers");
    poll_source_init(&socket->writable, "socket writers");
    return socket;
}

void socket_free(struct socket *socket) {
    kfree(socket);
}

// --- News ---

void socket_refresh(struct socket *socket) {
    unsigned ready = socket->protocol->poll == NULL ? 0 : socket->protocol->poll(socket);
    socket->ready = ready | (socket->error != 0 ? POLLERR : 0);
}

void socket_readable(struct socket *socket) {
    socket_refresh(socket);
    socket->read_news++;
    poll_notify(&socket->readable, socket->ready & ~(POLLOUT | POLLWRNORM));
}

// Room is only news to somebody who had none.
void socket_writable(struct socket *socket) {
    bool had_room = socket->ready & POLLOUT && !socket->no_room;
    socket_refresh(socket);
    if (had_room && !(socket->ready & (POLLERR | POLLHUP)))
        return;
    socket->no_room = false;
    socket->write_news++;
    poll_notify(&socket->writable, socket->ready & ~(POLLIN | POLLRDNORM));
}

void socket_fail(struct socket *socket, int error) {
    if (socket == NULL)
        return;
    socket->error = error;
    socket->no_room = true;
    socket_readable(socket);
    socket_writable(socket);
}

int socket_take_error(struct socket *socket) {
    int error = socket->error;
    socket->error = 0;
    return -error;
}

// --- Waiting; the network lock is held before and after ---

static u64 deadline_after(u64 timeout) {
    return timeout == NEVER ? NEVER : clock_monotonic() + timeout;
}

// 0: look again; or what the call is to return. Calls with a timeout are not begun again after a
// signal, since the time that has passed would be forgotten.
static int sleep_on(struct poll_source *source, volatile u32 *news, u64 deadline) {
    u32 seen = *news;
    network_unlock();
    int status = WAIT_FOR(&source->queue, *news != seen, deadline, true);
    network_lock();
    if (status == -EINTR && deadline != NEVER)
        return -EINTR_FINAL;
    return status == -ETIMEDOUT ? -EAGAIN : status;
}

static int sleep_for_data(struct socket *socket, u64 deadline) {
    return sleep_on(&socket->readable, &socket->read_news, deadline);
}

static int sleep_for_room(struct socket *socket, u64 deadline) {
    return sleep_on(&socket->writable, &socket->write_news, deadline);
}

// --- Sending ---

// Sends all (of a stream), or one message. -EAGAIN, or what else ended it. An error that comes when
// a part has been sent is for the next call: this one tells how large the part is.
static long send_locked(struct socket *socket, struct message *message, bool wait) {
    u64 deadline = deadline_after(socket->send_timeout);
    bool stream = socket->protocol->type == SOCK_STREAM;
    for (;;) {
        bool look = socket->protocol->domain != AF_UNIX && message->done == 0;
        long status = look ? socket_take_error(socket) : 0;
        if (status == 0)
            status = socket->protocol->send(socket, message);
        if (status > 0 && stream && message_left(message) > 0)
            continue;
        if (status != -EAGAIN)
            return status;
        socket->no_room = true;
        if (!wait)
            return status;
        socket_refresh(socket);
        status = sleep_for_room(socket, deadline);
        if (status < 0)
            return status;
    }
}

long socket_send(struct socket *socket, struct message *message, bool wait) {
    if (socket->protocol->send == NULL)
        return -EOPNOTSUPP;
    network_lock();
    long status = send_locked(socket, message, wait);
    socket_refresh(socket);
    network_unlock();
    bool stream = socket->protocol->type == SOCK_STREAM;
    if (stream && message->done > 0)
        return (long)message->done;
    if (status == -EPIPE && stream && !(message->flags & MSG_NOSIGNAL))
        signal_current_thread(SIGPIPE);
    return status;
}

// --- Receiving ---

// How many bytes of a stream are to come before the call returns.
static size_t enough(const struct socket *socket, const struct message *message) {
    if (message->flags & MSG_WAITALL && !(message->flags & MSG_PEEK))
        return message->size;
    return message->flags & MSG_PEEK ? MIN(message->size, 1UL)
                                     : MIN(message->size, socket->receive_low);
}

static long receive_locked(struct socket *socket, struct message *message, bool wait) {
    u64 deadline = deadline_after(socket->receive_timeout);
    bool stream = socket->protocol->type == SOCK_STREAM;
    size_t least = enough(socket, message);
    for (;;) {
        long status = socket->protocol->receive(socket, message);
        if (stream && message->flags & MSG_TRUNC && status > 0) // thrown away, not moved
            return status;
        if (status > 0 && stream && message->done < least &&
            (message->control == NULL || message->control->rights == NULL))
            continue;
        if (status == 0 || status == -EAGAIN) { // what came before an error is received first
            int error = message->done > 0 ? 0 : socket_take_error(socket);
            status = error < 0 ? error : status;
        }
        if (status != -EAGAIN || (stream && message->done >= least) || !wait)
            return status;
        socket_refresh(socket);
        status = sleep_for_data(socket, deadline);
        if (status < 0)
            return status;
    }
}

long socket_receive(struct socket *socket, struct message *message, bool wait) {
    if (socket->protocol->receive == NULL)
        return -EOPNOTSUPP;
    network_lock();
    long status = receive_locked(socket, message, wait && !(message->flags & MSG_ERRQUEUE));
    socket_refresh(socket);
    network_unlock();
    rights_close();
    bool stream = socket->protocol->type == SOCK_STREAM;
    if (stream && (message->done > 0 || (message->size == 0 && status == -EAGAIN)))
        return MAX(status, (long)message->done);
    return status;
}

// --- Connections ---

int socket_accept(struct socket *socket, struct socket **out, bool wait) {
    if (socket->protocol->accept == NULL)
        return -EOPNOTSUPP;
    u64 deadline = deadline_after(socket->receive_timeout);
    network_lock();
    int status;
    for (;;) {
        status = socket->protocol->accept(socket, out);
        if (status == -EAGAIN)
            status = socket->error != 0 ? socket_take_error(socket) : status;
        if (status != -EAGAIN || !wait)
            break;
        status = sleep_for_data(socket, deadline);
        if (status < 0)
            break;
    }
    socket_refresh(socket);
    if (status == 0)
        socket_refresh(*out);
    network_unlock();
    return status;
}

// Has a connect that was begun come to its end?
static bool connect_ended(struct socket *socket) {
    socket_refresh(socket);
    return socket->ready & (POLLOUT | POLLHUP | POLLERR);
}

static int connect_result(struct socket *socket) {
    socket->connecting = false;
    int status = socket_take_error(socket);
    return status == 0 && socket->ready & POLLHUP ? -ECONNABORTED : status;
}

// A connect that is interrupted goes on; the next call waits for its end.
static int connect_locked(struct socket *socket, const struct sockaddr *to, socklen_t size,
                          bool wait) {
    u64 deadline = deadline_after(socket->send_timeout);
    bool begun = socket->connecting;
    for (;;) {
        int status = 0;
        if (!socket->connecting) {
            status = begun ? 0 : socket->protocol->connect(socket, to, size);
            socket->connecting = status == -EINPROGRESS;
            if (status != -EINPROGRESS && status != -EAGAIN)
                return status;
        }
        if (socket->connecting && connect_ended(socket))
            return connect_result(socket);
        if (!wait) // -EAGAIN: AF_UNIX, whose listener has no room
            return status == -EAGAIN ? -EAGAIN : begun ? -EALREADY : -EINPROGRESS;
        socket->no_room = true;
        int slept = sleep_for_room(socket, deadline);
        if (slept < 0)
            return slept == -EAGAIN && socket->connecting ? -EINPROGRESS : slept;
        begun = socket->connecting;
    }
}

int socket_connect(struct socket *socket, const struct sockaddr *to, socklen_t size, bool wait) {
    if (socket->protocol->connect == NULL)
        return -EOPNOTSUPP;
    network_lock();
    int status = connect_locked(socket, to, size, wait);
    socket_refresh(socket);
    network_unlock();
    return status;
}

// --- Birth and death ---

// What Linux's inet_create, unix_create and netlink_create say.
static int check_numbers(int domain, int *type, int *number) {
    switch (domain) {
    case AF_INET:
        return *number < 0 || *number > 255 ? -EINVAL : 0;
    case AF_UNIX:
        if (*number != 0 && *number != PF_UNIX)
            return -EPROTONOSUPPORT;
        if (*type == SOCK_RAW)
            *type = SOCK_DGRAM;
        *number = 0;
        return 0;
    case AF_NETLINK:
        if (*type == SOCK_DGRAM)
            *type = SOCK_RAW;
        return *type == SOCK_RAW && *number != 0 ? -EPROTONOSUPPORT : 0; // NETLINK_ROUTE only
    default:
        return -EAFNOSUPPORT;
    }
}

static int find_protocol(int domain, int type, int number, const struct protocol **out) {
    int status = check_numbers(domain, &type, &number);
    if (status < 0)
        return status;
    status = -ESOCKTNOSUPPORT;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        const struct protocol *p = protocols[i];
        if (p->domain != domain || p->type != type)
            continue;
        *out = p;
        if (number == 0 || number == p->number)
            return 0;
        status = -EPROTONOSUPPORT;
    }
    return status;
}

int socket_create(int domain, int type, int number, struct socket **out) {
    const struct protocol *protocol = NULL;
    int status = find_protocol(domain, type, number, &protocol);
    if (status == 0 && domain != AF_UNIX)
        status = network_start();
    if (status < 0)
        return status;
    struct socket *socket = socket_new(protocol);
    if (socket == NULL)
        return -ENOMEM;
    network_lock();
    status = protocol->create(socket);
    if (status == 0)
        socket_refresh(socket);
    network_unlock();
    if (status < 0)
        socket_free(socket);
    else
        *out = socket;
    return status;
}

// SO_LINGER with a time: close waits until the other side has everything.
static void linger(struct socket *socket) {
    const struct protocol *protocol = socket->protocol;
    u64 deadline = clock_monotonic() + (u64)socket->linger.l_linger * SECOND;
    int left = 0;
    if (protocol->ioctl == NULL || protocol->shutdown == NULL ||
        protocol->shutdown(socket, SHUT_WR) < 0)
        return;
    while (protocol->ioctl(socket, TIOCOUTQ, (u64)(uintptr_t)&left) == 0 && left > 0) {
        socket->no_room = true;
        if (sleep_for_room(socket, deadline) < 0)
            break;
    }
}

void socket_close(struct socket *socket) {
    network_lock();
    if (socket->linger.l_onoff && socket->linger.l_linger > 0 && !current_process()->exiting)
        linger(socket);
    socket->protocol->close(socket);
    network_unlock();
    socket_free(socket);
    rights_close();
}
