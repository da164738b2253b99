// UDP sockets: shared by udp.c (packets), udp_ports.c (who has which port) and udp_socket.c (what
// applications ask).
#pragma once

#include "ipv4.h"
#include "socket.h"

struct udp_header {
    u16 source, destination, length, checksum; // all in network byte order
} __attribute__((packed, aligned(2)));

#define UDP_LARGEST (UINT16_MAX - 20UL - sizeof(struct udp_header))

// A socket's end; ports are in network byte order, 0: none.
struct udp {
    struct socket *socket;
    struct list link; // in the bucket of its port
    ipv4_address address, peer;
    u16 port, peer_port;
    bool address_given, port_given; // by bind, so that they outlive a connect to nowhere
    bool shut_read, shut_write;
    struct list queue; // packets, data at the payload, the header in front of it
    size_t queued;     // what they count, against the limit
};

// udp_ports.c
int udp_take_port(struct udp *udp, ipv4_address address, u16 port); // 0: any. -EADDRINUSE
void udp_give_port(struct udp *udp);
void udp_each(void (*visit)(struct udp *, void *), void *argument); // that has a port
// The socket that a packet is for: the one that says most exactly what it wants.
struct udp *udp_find(ipv4_address to, u16 port, ipv4_address from, u16 from_port);
// All of them, for a broadcast; NULL at the end. `udp` is the one before, NULL at first.
struct udp *udp_next(struct udp *udp, ipv4_address to, u16 port, ipv4_address from, u16 from_port);

// udp.c
#define UDP_CHARGE(packet) ((packet)->length + 512UL) // the packet's own memory, about
size_t udp_limit(const struct udp *udp);
long udp_send(struct socket *socket, struct message *message);
long udp_take(struct socket *socket, struct message *message);
