// What the files of the socket layer ask of each other: system calls (socket_calls.c,
// socket_transfer.c, socket_options.c), sockets as files (socket_file.c), waiting (socket.c).
#pragma once

#include "socket.h"

struct file;

// socket.c. All take the network lock themselves, and wait if they may.
int socket_create(int domain, int type, int number, struct socket **out);
void socket_close(struct socket *socket);
long socket_send(struct socket *socket, struct message *message, bool wait);
long socket_receive(struct socket *socket, struct message *message, bool wait);
int socket_accept(struct socket *socket, struct socket **out, bool wait);
int socket_connect(struct socket *socket, const struct sockaddr *to, socklen_t size, bool wait);
void socket_refresh(struct socket *socket); // `ready` after a change; with the network lock

// socket_file.c
struct file *socket_file(int descriptor, struct socket **out, int *error); // file_put it
struct socket *socket_of(struct file *file);                               // NULL: no socket
int socket_file_new(unsigned flags, struct file **out);                    // without a socket yet
void socket_file_set(struct file *file, struct socket *socket);
bool socket_waits(struct file *file, int flags); // neither O_NONBLOCK nor MSG_DONTWAIT

// message.c
void message_init(struct message *message, const struct iovec *pieces, size_t count, int flags);

// ip_options.c: the options of level IPPROTO_IP. -ENOPROTOOPT: not one of these.
int ip_set_option(struct socket *socket, int name, const void *value, socklen_t size);
int ip_get_option(struct socket *socket, int name, void *value, socklen_t *size);

// socket_ioctl.c: requests to interfaces and routes, on any socket. -ENOTTY: not one of these.
long interface_request(unsigned command, u64 argument);
