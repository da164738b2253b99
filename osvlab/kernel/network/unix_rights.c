// May a socket travel inside a socket?
//
// A socket that waits in a queue is kept alive by that queue. If it led back to itself (A waits in
// the queue of B, and B in that of A), both would live for ever, though nobody could reach them.
// Linux lets such rings come about and looks for them afterwards with a garbage collector. Here
// the message that would close a ring is refused instead, with -ETOOMANYREFS: references then form
// a graph without rings, and counting them is enough. Programs that pass a socket over itself, or
// over one that it carries, are the only ones to notice.
//
// The search goes through everything that is kept alive by the sockets in the message: the queues
// of what they hold, and the connections that wait to be accepted. Each socket is visited once; the
// list of those still to be visited runs through the sockets, so it needs no memory.

#include "unix.h"

#include "control.h"
#include "socket_layer.h"

static u32 search; // the number of the search that is going on

static void visit_later(struct unix_socket *u, struct list *to_visit) {
    if (u->searched == search)
        return;
    u->searched = search;
    list_append(to_visit, &u->in_search);
}

static void visit_files(const struct rights *rights, struct list *to_visit) {
    for (size_t i = 0; rights != NULL && i < rights->count; i++) {
        struct socket *socket = socket_of(rights->files[i]);
        if (socket != NULL && socket->protocol->domain == AF_UNIX)
            visit_later(unix_of(socket), to_visit);
    }
}

static void visit(struct unix_socket *u, struct list *to_visit) {
    LIST_EACH(&u->messages, message, struct unix_message, link)
    visit_files(message->rights, to_visit);
    LIST_EACH(&u->marks, mark, struct unix_mark, link)
    visit_files(mark->rights, to_visit);
    LIST_EACH(&u->queue, end, struct unix_socket, in_queue)
    visit_later(end, to_visit);
}

int unix_check_rights(struct unix_socket *to, const struct rights *rights) {
    struct list to_visit = LIST(to_visit);
    search++;
    visit_files(rights, &to_visit);
    while (!list_empty(&to_visit)) {
        struct unix_socket *u = LIST_FIRST(&to_visit, struct unix_socket, in_search);
        list_remove(&u->in_search);
        visit(u, &to_visit);
    }
    return to->searched == search ? -ETOOMANYREFS : 0;
}
