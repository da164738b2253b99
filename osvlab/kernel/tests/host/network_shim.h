// The network's surroundings on a host: virtual time, exact memory, and a cable whose other end
// the test holds.
#pragma once

#include "check.h"
#include "network/interface.h"
#include "network/ipv4.h"
#include "network/layers.h"
#include "network/network.h"

extern u64 shim_time;     // nanoseconds; moves only when the test moves it
extern u64 shim_random;   // the state of all chances
extern size_t shim_wakes; // calls of network_wake

void shim_start(void);        // the loopback interface and the lock
void shim_advance(u64 until); // polls and runs timers, each at its own time

extern struct resolver shim_resolver; // the last one set
extern unsigned shim_configured;      // calls of network_configured

unsigned shim_pick(unsigned limit); // a number below
void random_bytes(void *out, size_t size);

// "eth0": what it sends is kept, newest last.
struct shim_frame {
    struct list link;
    size_t size;
    u8 bytes[];
};
extern struct interface shim_card;
extern struct list shim_sent;
extern bool shim_card_full; // transmit answers -ENOBUFS
void shim_card_start(const char *address, const char *netmask, const char *gateway);
struct shim_frame *shim_next_sent(void); // off the list, to be freed; NULL: none
void shim_forget_sent(void);
// A frame arrives. The packet is not one byte larger than it.
void shim_arrive(const void *frame, size_t size);
extern bool shim_turn_goes_on; // more arrives in the same turn of the network thread
void shim_turn_ends(void);

ipv4_address shim_address(const char *text);
// Frames as another host would make them; return their size.
extern const u8 shim_peer_mac[6];
size_t shim_ipv4(u8 *out, const char *from, const char *to, u8 protocol, u16 fragment,
                 const void *payload, size_t size);
size_t shim_arp(u8 *out, u16 operation, const u8 *mac, const char *sender, const char *target);
