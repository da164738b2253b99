// Sockets: the layer between system calls and protocols.
//
// A protocol never sleeps. Its operations run with the network lock held and answer -EAGAIN when
// they cannot go on now; the socket layer then waits for the socket's poll source, with the
// socket's timeouts and signals in mind, or returns to a caller that does not want to wait. So
// waiting is written once, and a protocol can be tried without threads.
//
// A socket is alive while a file, an accept queue or its protocol needs it: the protocol's
// `close` decides what happens to a connection that nobody has open any more.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "files/poll.h"
#include "network.h"

struct socket;

// Data on its way between an application and a protocol. `done` counts the bytes moved so far,
// over all pieces. message_read and message_write stop at the end of the pieces.
struct message {
    const struct iovec *pieces;
    size_t count;
    size_t size, done; // bytes in all pieces; moved
    int flags;         // MSG_PEEK, MSG_OOB, MSG_TRUNC, MSG_MORE...
    int flags_out;     // of a receive: MSG_TRUNC, MSG_CTRUNC...
    struct sockaddr_storage address;
    socklen_t address_size;  // 0: none given, or none to tell
    struct control *control; // what travels beside the data (control.h), or NULL
};
// From and to the application's memory. 0, or -EFAULT; `done` moves along.
int message_read(struct message *message, void *to, size_t size);
int message_write(struct message *message, const void *from, size_t size);
static inline size_t message_left(const struct message *message) {
    return message->size - message->done;
}

// All but create and close may be NULL: -EOPNOTSUPP. All return 0 or bytes, or -errno; -EAGAIN
// asks to be called again after socket_readable or socket_writable.
struct protocol {
    int domain, type, number; // AF_INET, SOCK_STREAM, IPPROTO_TCP
    int (*create)(struct socket *socket);
    void (*close)(struct socket *socket); // no file has it any more; frees or detaches
    int (*bind)(struct socket *, const struct sockaddr *address, socklen_t size);
    // Begins to connect: -EINPROGRESS, and socket_writable when it is done one way or the other.
    int (*connect)(struct socket *, const struct sockaddr *address, socklen_t size);
    int (*listen)(struct socket *, int backlog);
    int (*accept)(struct socket *, struct socket **out);
    int (*pair)(struct socket *, struct socket *other);        // socketpair
    long (*send)(struct socket *, struct message *message);    // what fits now, at least one byte
    long (*receive)(struct socket *, struct message *message); // 0: end of the stream
    int (*shutdown)(struct socket *, int how);
    int (*name)(struct socket *, bool peer, struct sockaddr_storage *out, socklen_t *size);
    unsigned (*poll)(struct socket *); // POLLIN, POLLOUT, POLLHUP... as it is now; the socket layer
                                       // adds POLLERR for socket->error
    int (*set_option)(struct socket *, int level, int name, const void *value, socklen_t size);
    int (*get_option)(struct socket *, int level, int name, void *value, socklen_t *size);
    long (*ioctl)(struct socket *, unsigned command, u64 argument); // FIONREAD, SIOCOUTQ
};
extern const struct protocol tcp_protocol, udp_protocol, netlink_protocol;
extern const struct protocol unix_stream_protocol, unix_datagram_protocol, unix_packet_protocol;

struct ip_settings {       // options of AF_INET sockets (ip_options.c)
    u8 time_to_live;       // 0: the default
    u8 group_time_to_live; // of multicasts
    u8 service, discovery; // IP_TOS, IP_MTU_DISCOVER
    bool tells_packet, tells_time_to_live, tells_service, tells_errors;
};

struct socket {
    const struct protocol *protocol;
    void *connection; // the protocol's own
    int error;        // positive errno for SO_ERROR, cleared when told
    bool reuse_address, reuse_port, keep_alive, broadcast;
    bool connecting;                    // connect has begun and was not yet told the end
    bool listening;                     // listen has succeeded: SO_ACCEPTCONN
    bool no_room;                       // a send had to stop: socket_writable is news
    volatile unsigned ready;            // what poll answers; private to socket.c, as is:
    volatile u32 read_news, write_news; // how often the sources have notified
    struct linger linger;
    struct ip_settings ip;
    u64 receive_timeout, send_timeout;     // nanoseconds, NEVER: none
    u32 receive_low;                       // SO_RCVLOWAT
    u32 receive_buffer, send_buffer;       // SO_RCVBUF, SO_SNDBUF: bytes; 0: the protocol's default
    struct poll_source readable, writable; // notified by the protocol
};

// A protocol makes the sockets that it hands out by accept with this; NULL: no memory.
struct socket *socket_new(const struct protocol *protocol);
void socket_free(struct socket *socket); // does not call close; after it, for a socket with a file

// Something has changed (called after the change): data, end, error, a connection to accept;
// room, connected, error.
void socket_readable(struct socket *socket);
void socket_writable(struct socket *socket);
// Both, with an error for the next call to report. socket may be NULL (nobody has it open).
void socket_fail(struct socket *socket, int error);
int socket_take_error(struct socket *socket); // -errno or 0, and clears it
