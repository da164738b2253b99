// IPv4 (RFC 791, RFC 1122): what the transport protocols see of it.
#pragma once

#include "interface.h"
#include "packet.h"

enum { IP_ICMP = 1, IP_TCP = 6, IP_UDP = 17 };

struct ipv4_header {
    u8 version_and_length, service;
    u16 total_length, identification, fragment;
    u8 time_to_live, protocol;
    u16 checksum;
    ipv4_address source, destination;
} __attribute__((packed, aligned(2)));

// Which interface leads to `destination`, with which source address, and by which next hop.
// 0, -ENETUNREACH.
struct route {
    struct interface *interface;
    ipv4_address source, next_hop;
};
int route_find(ipv4_address destination, struct route *out);

// Takes a packet whose data is the transport's part, complete with its checksum (or marked
// checksum_partial). source 0: the route's. Fragments what the interface cannot take whole,
// unless `dont_fragment` (-EMSGSIZE). 0 or -errno; the packet is gone either way.
struct ipv4_options {
    u8 time_to_live, service; // time_to_live 0: the default
    bool dont_fragment, broadcast_allowed;
};
int ipv4_send(struct packet *packet, ipv4_address source, ipv4_address destination, u8 protocol,
              const struct ipv4_options *options); // NULL: the defaults

// The transport protocols. Each takes the packet; data is at the transport's header, and source,
// destination and interface are set. The checksum is still to be verified, unless checksum_good.
void icmp_receive(struct packet *packet);
void udp_receive(struct packet *packet);
void tcp_receive(struct packet *packet);

// An ICMP error about a packet of ours came back: the embedded header and 8 bytes of the
// transport's. `error` is an errno (EHOSTUNREACH, ECONNREFUSED, EMSGSIZE with `mtu`).
void udp_error(const struct ipv4_header *sent, const u8 *transport, int error);
void tcp_error(const struct ipv4_header *sent, const u8 *transport, int error, u32 mtu);

// An interface has lost this address: connections from it cannot go on.
void tcp_address_gone(ipv4_address address);

// Answers a packet with an ICMP error (type, code), within a rate limit. Does not take it.
void icmp_send_error(const struct packet *about, u8 type, u8 code);

// The Internet checksum (RFC 1071). Partial sums are 64-bit and may be added up; a piece that
// begins at an odd offset is added with checksum_swap.
u64 checksum_add(u64 sum, const void *data, size_t size);
u64 checksum_copy(u64 sum, void *to, const void *from, size_t size); // copies, too
u64 checksum_swap(u64 sum);                                          // for an odd offset
u16 checksum_finish(u64 sum); // folded and inverted, to be stored as it is
u64 checksum_pseudo_header(ipv4_address source, ipv4_address destination, u8 protocol,
                           size_t length);

// Network byte order.
static inline u16 swap16(u16 x) {
    return __builtin_bswap16(x);
}
static inline u32 swap32(u32 x) {
    return __builtin_bswap32(x);
}
