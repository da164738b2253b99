// DHCP's messages (RFC 2131 section 2, options: RFC 2132), taken apart and put together.
#pragma once

#include "interface.h"

enum { DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68 };
enum dhcp_type {
    DHCP_DISCOVER = 1,
    DHCP_OFFER = 2,
    DHCP_REQUEST = 3,
    DHCP_ACK = 5,
    DHCP_NAK = 6,
};

// What we say.
struct dhcp_question {
    enum dhcp_type type;
    u32 transaction;
    u16 seconds;                    // since we began to ask
    const u8 *mac;                  // 6 bytes
    ipv4_address client;            // our address, when we have one
    ipv4_address requested, server; // 0: not said
    const char *host;               // NULL: not said
    ipv4_address from, to;          // for the pseudo header
};
struct packet *dhcp_write(const struct dhcp_question *question); // data at the UDP header, or NULL

// What a server says. 0 where it says nothing.
struct dhcp_answer {
    enum dhcp_type type;
    ipv4_address address, server, netmask, gateway;
    u32 lease, renew, rebind; // seconds
    u32 mtu;
    size_t nameserver_count;
    ipv4_address nameservers[NAMESERVERS];
    char domain[256];
};
// Takes the payload of a UDP packet apart. False unless it is a well-formed answer to us.
bool dhcp_read(const u8 *message, size_t size, u32 transaction, const u8 *mac,
               struct dhcp_answer *out);
