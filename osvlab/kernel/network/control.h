// Control messages: what travels beside the data of a message (cmsg(3)).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base.h"
#include "list.h"

struct file;
struct message;

// Open files on their way from one process to another (unix(7), SCM_RIGHTS).
struct rights {
    struct list link;
    size_t count;
    struct file *files[]; // one reference each
};
#define RIGHTS_MAX 253 // in one message, as Linux

struct control {
    struct rights *rights; // send: the protocol may take it over; receive: it gives it
    bool has_credentials, has_packet, has_time_to_live, has_service;
    struct ucred credentials;
    struct in_pktinfo packet;
    int time_to_live, service;
};

// Closes files that nobody received. Closing may need the network lock, so who holds it puts them
// aside, and the next who has given it back closes them.
void rights_put_aside(struct rights *rights); // also NULL
void rights_close(void);                      // without the network lock

// Between a struct msghdr's buffer and a struct control. 0 or -errno.
int control_in(struct control *out, const void *user, size_t size, int domain);
// Gives the files descriptors, writes everything; the size used. What had no room is dropped and
// sets MSG_CTRUNC in `flags`. MSG_CMSG_CLOEXEC is taken from `wanted`.
long control_out(struct control *control, void *user, size_t size, int wanted, int *flags);
