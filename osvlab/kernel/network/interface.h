// Interfaces: what frames go out of and come in by. "lo" is made by network_start, "eth0" and so
// on by the drivers of the devices, in the order in which they are found.
#pragma once

#include "base.h"
#include "list.h"
#include "packet.h"

typedef u32 ipv4_address; // in network byte order, as in packets and in struct sockaddr_in

struct interface_counters { // as /proc/net/dev shows them
    u64 packets, bytes, errors, dropped;
};

struct interface {
    struct list link;
    char name[16];
    int index; // from 1, as if_nametoindex has it
    u8 mac[6];
    u32 mtu;                                // bytes of an IPv4 packet
    unsigned flags;                         // IFF_UP, IFF_LOOPBACK... (net/if.h)
    ipv4_address address, netmask, gateway; // 0: none
    struct interface_counters received, sent;
    bool sends_checksums; // the device completes partial checksums
    bool announced;       // private to interface_flush
    struct dhcp *dhcp;    // private to dhcp.c
    void *driver;
    // Takes a whole frame (loopback: an IPv4 packet). -ENOBUFS when the queue is full; the packet
    // is gone either way. May queue: `flush` tells the device.
    int (*transmit)(struct interface *, struct packet *);
    void (*flush)(struct interface *); // NULL: nothing to tell
    void (*poll)(struct interface *);  // hands what has arrived to interface_receive
};

void interface_register(struct interface *interface); // its name may be a pattern: "eth%u"
struct interface *interface_find(const char *name);
struct interface *interface_of_index(int index);
struct interface *interface_of_address(ipv4_address address); // whose own address this is
void interfaces_each(void (*visit)(struct interface *, void *), void *argument);

// Up: takes a whole frame as it came off the wire (loopback: an IPv4 packet).
void interface_receive(struct interface *interface, struct packet *packet);

// Sets or clears (0) an interface's address; connections over the old one are reset.
void interface_set_address(struct interface *interface, ipv4_address address, ipv4_address netmask);

// Asks DHCP for an address, again if there was one (a changed host name is told that way).
int dhcp_start(struct interface *interface);
void dhcp_renew_all(void);                   // the host name has changed; takes the network lock
void dhcp_stop(struct interface *interface); // the address stays, but nobody looks after it
bool dhcp_is_asking(const struct interface *interface); // there is no address yet

// From a driver: its cable is plugged in again, perhaps into another network.
void network_link_up(struct interface *interface);
void dhcp_link_up(struct interface *interface); // asks again, any server

// From the driver of a new device: gives it an address, by DHCP unless the command line says.
void network_found(struct interface *interface);

// Where names are looked up, as DHCP or the command line says. At most NAMESERVERS.
#define NAMESERVERS 3
struct resolver {
    bool by_dhcp;
    size_t count;
    ipv4_address servers[NAMESERVERS];
    char domain[256];
};
const struct resolver *network_resolver(void);
void network_resolver_set(const struct resolver *resolver);
void network_configured(void); // an interface has an address now: wakes who waits for that
