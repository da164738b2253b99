// Options of the IP level, the same for all sockets of AF_INET (ip(7)). The protocols look them up
// in socket->ip when they send and receive.

#include "socket_layer.h"

#include <netinet/in.h>
#include <string.h>

#include "ipv4.h"

#define TIME_TO_LIVE 64 // what ipv4.c makes of 0

// A byte is enough for most of these.
static int number_of(const void *value, socklen_t size, int *out) {
    if (size == 0)
        return -EINVAL;
    *out = *(const u8 *)value;
    if (size >= sizeof(*out))
        memcpy(out, value, sizeof(*out));
    return 0;
}

static bool *flag_of(struct ip_settings *ip, int name) {
    switch (name) {
    case IP_PKTINFO:
        return &ip->tells_packet;
    case IP_RECVTTL:
        return &ip->tells_time_to_live;
    case IP_RECVTOS:
        return &ip->tells_service;
    case IP_RECVERR:
        return &ip->tells_errors;
    default:
        return NULL;
    }
}

static int set_time_to_live(u8 *out, int value, int by_default) {
    if (value == -1)
        value = by_default;
    else if (value < 1 || value > 255)
        return -EINVAL;
    *out = (u8)value;
    return 0;
}

int ip_set_option(struct socket *socket, int name, const void *value, socklen_t size) {
    struct ip_settings *ip = &socket->ip;
    bool *flag = flag_of(ip, name);
    int number, status = number_of(value, size, &number);
    if (status < 0)
        return status;
    if (flag != NULL) {
        *flag = number != 0;
        return 0;
    }
    switch (name) {
    case IP_TTL:
        return set_time_to_live(&ip->time_to_live, number, 0);
    case IP_MULTICAST_TTL:
        return set_time_to_live(&ip->group_time_to_live, number, 1);
    case IP_TOS:
        ip->service = (u8)number;
        return 0;
    case IP_MTU_DISCOVER:
        if (number < IP_PMTUDISC_DONT || number > IP_PMTUDISC_OMIT)
            return -EINVAL;
        ip->discovery = (u8)number;
        return 0;
    case IP_ADD_MEMBERSHIP: // nobody listens to groups
    case IP_DROP_MEMBERSHIP:
        return -EOPNOTSUPP;
    default:
        return -ENOPROTOOPT;
    }
}

// Of the way to the peer.
static int mtu_of(struct socket *socket, int *out) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    struct route route;
    if (socket->protocol->name(socket, true, &peer, &size) < 0 ||
        route_find(((struct sockaddr_in *)&peer)->sin_addr.s_addr, &route) < 0)
        return -ENOTCONN;
    *out = (int)route.interface->mtu;
    return 0;
}

static int get(struct socket *socket, int name, int *number) {
    struct ip_settings *ip = &socket->ip;
    const bool *flag = flag_of(ip, name);
    switch (name) {
    case IP_TTL:
        *number = ip->time_to_live != 0 ? ip->time_to_live : TIME_TO_LIVE;
        return 0;
    case IP_MULTICAST_TTL:
        *number = ip->group_time_to_live;
        return 0;
    case IP_TOS:
        *number = ip->service;
        return 0;
    case IP_MTU_DISCOVER:
        *number = ip->discovery;
        return 0;
    case IP_MTU:
        return mtu_of(socket, number);
    default:
        *number = flag != NULL && *flag;
        return flag != NULL ? 0 : -ENOPROTOOPT;
    }
}

int ip_get_option(struct socket *socket, int name, void *value, socklen_t *size) {
    int number, status = get(socket, name, &number);
    if (status < 0)
        return status;
    *size = MIN(*size, (socklen_t)sizeof(number));
    memcpy(value, &number, *size);
    return 0;
}
