// AF_UNIX sockets: shared by unix.c (birth, connecting, death), unix_names.c, unix_stream.c,
// unix_message.c and unix_rights.c. Semantics: unix(7).
#pragma once

#include <sys/un.h>

#include "socket.h"
#include "files/ring.h"

struct rights;
struct vnode;

// Invariants, all under the network lock: `peer` is where messages go, and we are on its list of
// `clients`; it is NULL when there is none or it has been closed. A socket that could not send or
// connect for want of room is on the list `waiting` of the one that lacks it.
struct unix_socket {
    struct socket *socket;
    struct list in_all;
    struct unix_socket *peer;
    struct list clients, in_clients;
    struct list waiting, in_waiting;

    struct list in_names; // bound: in the table of names
    struct sockaddr_un name;
    socklen_t name_size; // 0: no name
    struct vnode *vnode; // a name in the filesystem

    bool listening;
    unsigned backlog, queued;
    struct list queue, in_queue; // connected sockets that nobody has accepted yet

    bool connected; // once, stream and seqpacket: there will be no other peer
    bool refused;   // datagram: the peer is gone, which the next send tells
    bool shut_read, shut_write;
    bool tells_credentials;
    int pid, peer_pid; // who made the socket, and the other end

    struct ring ring;     // stream: what has arrived
    struct list marks;    // stream: struct unix_mark, files that travel at a place in the stream
    struct list messages; // datagram, seqpacket: struct unix_message
    size_t bytes;         // they take

    struct list in_search; // unix_rights.c
    u32 searched;
};

struct unix_mark {
    struct list link;
    u64 position, end; // of the bytes they were sent with
    struct rights *rights;
};

struct unix_message {
    struct list link;
    struct sockaddr_un from;
    socklen_t from_size;
    int pid;
    size_t size, memory;
    struct rights *rights;
    u8 data[];
};

static inline struct unix_socket *unix_of(struct socket *socket) {
    return socket->connection;
}

#define UNIX_ROOM 212992UL // bytes that wait for a receiver; Linux's default for SO_SNDBUF

// unix_names.c
int unix_bind(struct socket *socket, const struct sockaddr *address, socklen_t size);
int unix_find(const struct sockaddr *address, socklen_t size, const struct protocol *protocol,
              struct unix_socket **out);
void unix_forget_name(struct unix_socket *u);
int unix_name(struct socket *socket, bool peer, struct sockaddr_storage *out, socklen_t *size);

// unix.c
void unix_wait_for(struct unix_socket *u, struct unix_socket *other); // for room
void unix_has_room(struct unix_socket *u);                            // wakes who waits for it
void unix_each(void (*visit)(struct unix_socket *, void *), void *argument);
unsigned unix_poll(struct socket *socket);
void unix_tell_credentials(const struct unix_socket *u, struct message *message, int pid);

// unix_stream.c, unix_message.c
long unix_stream_send(struct socket *socket, struct message *message);
long unix_stream_receive(struct socket *socket, struct message *message);
void unix_stream_discard(struct unix_socket *u);
long unix_message_send(struct socket *socket, struct message *message);
long unix_message_receive(struct socket *socket, struct message *message);
void unix_message_discard(struct unix_socket *u);

// unix_rights.c: may these files be put into the queue of `to`? 0 or -ETOOMANYREFS.
int unix_check_rights(struct unix_socket *to, const struct rights *rights);
