// What stands in /proc/net: interfaces, routes, neighbours and name servers, as proc(5) and Linux's
// net/ipv4/{fib_trie,arp,ipconfig}.c lay them out.

#include "files/procfs.h"

#include <net/if.h>

#include "layers.h"
#include "network.h"

static void add_counters(struct text *text, const struct interface *i) {
    const struct interface_counters *r = &i->received, *s = &i->sent;

    text_add(text, "%6s: %7lu %7lu %4lu %4lu    0     0          0         0 ", i->name, r->bytes,
             r->packets, r->errors, r->dropped);
    text_add(text, "%8lu %7lu %4lu %4lu    0     0       0          0\n", s->bytes, s->packets,
             s->errors, s->dropped);
}

void proc_write_net_dev(struct text *text, int pid) {
    (void)pid;
    text_add(text, "Inter-|   Receive                                                |  Transmit\n"
                   " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
                   "packets errs drop fifo colls carrier compressed\n");
    network_lock();
    LIST_EACH(interfaces(), i, struct interface, link)
    add_counters(text, i);
    network_unlock();
}

enum { ROUTE_UP = 1, ROUTE_GATEWAY = 2 };

static void add_route(struct text *text, const struct interface *i, ipv4_address destination,
                      ipv4_address gateway, ipv4_address mask) {
    text_add(text, "%s\t%08X\t%08X\t%04X\t0\t0\t0\t%08X\t0\t0\t0\n", i->name, destination, gateway,
             ROUTE_UP | (gateway ? ROUTE_GATEWAY : 0), mask);
}

void proc_write_net_route(struct text *text, int pid) {
    (void)pid;
    text_add(text, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\t"
                   "IRTT\n");
    network_lock();
    LIST_EACH(interfaces(), i, struct interface, link) {
        if (!i->address || (i->flags & IFF_LOOPBACK))
            continue;
        if (i->gateway)
            add_route(text, i, 0, i->gateway, 0);
        add_route(text, i, i->address & i->netmask, 0, i->netmask);
    }
    network_unlock();
}

static void add_neighbour(const struct arp_view *n, void *argument) {
    const u8 *a = (const u8 *)&n->address, *m = n->mac;
    char address[16];

    format_string(address, sizeof(address), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    text_add(
        argument, "%-16s 0x1         0x%x         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
        address, n->complete ? 2U : 0U, m[0], m[1], m[2], m[3], m[4], m[5], n->interface->name);
}

void proc_write_net_arp(struct text *text, int pid) {
    (void)pid;
    text_add(text,
             "IP address       HW type     Flags       HW address            Mask     Device\n");
    network_lock();
    arp_each(add_neighbour, text);
    network_unlock();
}

// In the syntax of resolv.conf(5): /etc/resolv.conf may be a link to it.
void proc_write_net_pnp(struct text *text, int pid) {
    (void)pid;
    network_lock();
    const struct resolver *resolver = network_resolver();
    text_add(text, resolver->by_dhcp ? "#PROTO: DHCP\n" : "#MANUAL\n");
    if (resolver->domain[0])
        text_add(text, "domain %s\n", resolver->domain);
    for (size_t i = 0; i < resolver->count; i++) {
        const u8 *a = (const u8 *)&resolver->servers[i];
        text_add(text, "nameserver %u.%u.%u.%u\n", a[0], a[1], a[2], a[3]);
    }
    network_unlock();
}
