// Transport protocols that only note what they get, and the few addresses the tests use.
#pragma once

#include "network_shim.h"

#define US "10.0.0.2"
#define PEER "10.0.0.1"
#define MASK "255.255.255.0"
#define GATEWAY "10.0.0.9"
#define FAR "8.8.8.8"

struct seen {
    unsigned packets, errors;
    u32 source, destination, length, error_mtu;
    bool broadcast;
    int error;
    u8 protocol, data[70000];
};
extern struct seen seen;

void expect_packets(unsigned count); // have come since the last call
unsigned count_sent(void);           // frames the card has sent since; they are forgotten
const struct ipv4_header *ip_of(const struct shim_frame *f);
int send_to(const char *destination, size_t size, const struct ipv4_options *options);
void peer_answers(const char *address); // by ARP
void arrive(const char *from, const char *to, u8 protocol, u16 fragment, const void *payload,
            size_t size);
