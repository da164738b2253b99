// UDP as applications use it: bind, connect, close (udp(7)). Options are those of ip(7).

#include "udp.h"

#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

#include "layers.h"
#include "memory.h"
#include "user.h"

static int udp_create(struct socket *socket) {
    struct udp *udp = kzalloc(sizeof(*udp));
    if (udp == NULL)
        return -ENOMEM;
    udp->socket = socket;
    list_init(&udp->link);
    list_init(&udp->queue);
    socket->connection = udp;
    return 0;
}

static void udp_close(struct socket *socket) {
    struct udp *udp = socket->connection;
    list_remove(&udp->link);
    while (!list_empty(&udp->queue)) {
        struct packet *packet = LIST_FIRST(&udp->queue, struct packet, link);
        list_remove(&packet->link);
        packet_free(packet);
    }
    kfree(udp);
}

// --- Addresses ---

static void is_broadcast_here(struct interface *interface, void *address) {
    ipv4_address *wanted = address;
    if (*wanted != 0 && ipv4_is_broadcast(interface, *wanted))
        *wanted = 0;
}

static bool may_bind(ipv4_address address) {
    if (address == 0 || ipv4_is_loopback(address) || ipv4_is_multicast(address) ||
        interface_of_address(address) != NULL)
        return true;
    interfaces_each(is_broadcast_here, &address);
    return address == 0;
}

static int udp_bind(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct udp *udp = socket->connection;
    const struct sockaddr_in *in = (const void *)address;
    if (size < sizeof(*in))
        return -EINVAL;
    if (in->sin_family != AF_INET && (in->sin_family != AF_UNSPEC || in->sin_addr.s_addr != 0))
        return -EAFNOSUPPORT;
    if (!may_bind(in->sin_addr.s_addr))
        return -EADDRNOTAVAIL;
    if (udp->port != 0)
        return -EINVAL;
    int status = udp_take_port(udp, in->sin_addr.s_addr, in->sin_port);
    if (status < 0)
        return status;
    udp->address = in->sin_addr.s_addr;
    udp->address_given = udp->address != 0;
    udp->port_given = in->sin_port != 0;
    return 0;
}

// Back to what bind made of it.
static int disconnect(struct udp *udp) {
    udp->peer = 0;
    udp->peer_port = 0;
    if (!udp->address_given)
        udp->address = 0;
    if (!udp->port_given && udp->port != 0)
        udp_give_port(udp);
    return 0;
}

static int udp_connect(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct udp *udp = socket->connection;
    const struct sockaddr_in *in = (const void *)address;
    struct route route;
    if (address->sa_family == AF_UNSPEC)
        return disconnect(udp);
    if (size < sizeof(*in))
        return -EINVAL;
    if (in->sin_family != AF_INET)
        return -EAFNOSUPPORT;
    ipv4_address to = in->sin_addr.s_addr != 0 ? in->sin_addr.s_addr : swap32(INADDR_LOOPBACK);
    int status = route_find(to, &route);
    if (status == 0 && ipv4_is_broadcast(route.interface, to) && !socket->broadcast)
        status = -EACCES;
    if (status == 0 && udp->port == 0)
        status = udp_take_port(udp, udp->address, 0);
    if (status < 0)
        return status;
    if (udp->address == 0)
        udp->address = route.source;
    udp->peer = to;
    udp->peer_port = in->sin_port;
    return 0;
}

static int udp_name(struct socket *socket, bool peer, struct sockaddr_storage *out,
                    socklen_t *size) {
    const struct udp *udp = socket->connection;
    if (peer && udp->peer_port == 0)
        return -ENOTCONN;
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = peer ? udp->peer_port : udp->port,
                               .sin_addr.s_addr = peer ? udp->peer : udp->address};
    memcpy(out, &name, sizeof(name));
    *size = sizeof(name);
    return 0;
}

static int udp_shutdown(struct socket *socket, int how) {
    struct udp *udp = socket->connection;
    udp->shut_read |= how != SHUT_WR;
    udp->shut_write |= how != SHUT_RD;
    return udp->peer_port == 0 ? -ENOTCONN : 0;
}

static unsigned udp_poll(struct socket *socket) {
    const struct udp *udp = socket->connection;
    unsigned ready = POLLOUT | POLLWRNORM | POLLWRBAND;
    if (udp->shut_read)
        ready |= POLLIN | POLLRDNORM | POLLRDHUP | (udp->shut_write ? POLLHUP : 0);
    return list_empty(&udp->queue) ? ready : ready | POLLIN | POLLRDNORM;
}

static long udp_ioctl(struct socket *socket, unsigned command, u64 argument) {
    struct udp *udp = socket->connection;
    struct packet *first = LIST_FIRST(&udp->queue, struct packet, link);
    int bytes = command == FIONREAD && first != NULL ? (int)first->length : 0;
    if (command != FIONREAD && command != TIOCOUTQ)
        return -ENOTTY;
    return user_write((void *)(uintptr_t)argument, &bytes, sizeof(bytes));
}

const struct protocol udp_protocol = {
    .domain = AF_INET,
    .type = SOCK_DGRAM,
    .number = IPPROTO_UDP,
    .create = udp_create,
    .close = udp_close,
    .bind = udp_bind,
    .connect = udp_connect,
    .send = udp_send,
    .receive = udp_take,
    .shutdown = udp_shutdown,
    .name = udp_name,
    .poll = udp_poll,
    .ioctl = udp_ioctl,
};
