// What the layers of the network ask of each other, below what interface.h and ipv4.h show to
// drivers, transport protocols and sockets.
#pragma once

#include "interface.h"
#include "ipv4.h"

// interface.c. A frame (loopback: an IPv4 packet) on its way out; it is told to the device when
// the lock is given back.
int interface_transmit(struct interface *interface, struct packet *packet);
void interfaces_flush(void);
void interfaces_poll(void);
struct list *interfaces(void); // of struct interface.link

// loopback.c
int loopback_start(void);

// ethernet.c
enum { ETHERNET_IPV4 = 0x0800, ETHERNET_ARP = 0x0806 };
struct ethernet_header {
    u8 destination[6], source[6];
    u16 type;
} __attribute__((packed));
extern const u8 ethernet_broadcast[6];
void ethernet_receive(struct interface *interface, struct packet *packet);
int ethernet_send(struct packet *packet, const u8 *destination, u16 type); // by packet->interface
static inline void ethernet_copy(u8 *to, const u8 *mac) {
    __builtin_memcpy(to, mac, 6);
}
static inline bool ethernet_equal(const u8 *a, const u8 *b) {
    u32 first[2];
    u16 rest[2];

    __builtin_memcpy(&first[0], a, 4);
    __builtin_memcpy(&first[1], b, 4);
    __builtin_memcpy(&rest[0], a + 4, 2);
    __builtin_memcpy(&rest[1], b + 4, 2);
    return first[0] == first[1] && rest[0] == rest[1];
}
static inline bool ethernet_is_group(const u8 *mac) { // multicast, broadcast
    return mac[0] & 1;
}

// arp.c
void arp_receive(struct packet *packet);
// Sends an IPv4 packet to a neighbour, at once or when its hardware address is known.
int arp_send(struct packet *packet, ipv4_address next_hop);
void arp_announce(struct interface *interface);
void arp_forget(const struct interface *interface); // everything learnt there
struct arp_view {
    ipv4_address address;
    u8 mac[6];
    bool complete;
    const struct interface *interface;
};
void arp_each(void (*visit)(const struct arp_view *, void *), void *argument);

// ipv4.c
#define FRAGMENT_DONT 0x4000 // in host order, in ipv4_header.fragment
#define FRAGMENT_MORE 0x2000
#define FRAGMENT_OFFSET 0x1fff // in units of 8 bytes
#define IPV4_HEADER 20UL
void ipv4_receive(struct interface *interface, struct packet *packet);
int ipv4_output(struct packet *packet, ipv4_address next_hop); // complete with its header
void ipv4_header_seal(struct ipv4_header *header);             // its checksum, without options
bool ipv4_is_broadcast(const struct interface *interface, ipv4_address address);
static inline bool ipv4_is_multicast(ipv4_address address) {
    return (address & swap32(0xf0000000)) == swap32(0xe0000000);
}
static inline bool ipv4_is_loopback(ipv4_address address) {
    return (address & swap32(0xff000000)) == swap32(0x7f000000);
}
static inline size_t ipv4_header_size(const struct ipv4_header *header) {
    return (header->version_and_length & 15) * 4UL;
}
// A sent packet's failure, told to the transport protocol it came from. `sent` is followed by at
// least 8 bytes of the transport's.
void ipv4_report(const struct ipv4_header *sent, int error, u32 mtu);

// fragments.c. Takes a fragment (data at its payload, ip set); the whole datagram, data at its
// payload, or NULL while something is missing.
struct packet *fragments_add(struct packet *packet);
int fragments_send(struct packet *packet, ipv4_address next_hop); // data at the IPv4 header

// icmp.c
enum { ICMP_UNREACHABLE = 3, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER = 12 };
enum { ICMP_NET, ICMP_HOST, ICMP_PROTOCOL, ICMP_PORT, ICMP_FRAGMENTATION_NEEDED };

// dhcp.c. Takes a UDP packet to port 68 of an interface that it looks after, or answers false.
bool dhcp_receive(struct packet *packet);
