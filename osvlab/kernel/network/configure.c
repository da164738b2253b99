// Which addresses the interfaces get: by DHCP, or from the command line (osv.io's --ip,
// --defaultgw, --nameserver). The functions named core_... are the runtime's way in.

#include <net/if.h>
#include <string.h>

#include "boot.h"
#include "clock.h"
#include "layers.h"
#include "lock.h"
#include "memory.h"
#include "network.h"
#include "print.h"
#include "runtime.h"

#define DHCP_PATIENCE (15 * SECOND) // of a boot; DHCP goes on asking after that

static struct wait_queue changed = WAIT_QUEUE(changed, "network configuration");
static struct resolver resolver;

const struct resolver *network_resolver(void) {
    return &resolver;
}

void network_resolver_set(const struct resolver *from) {
    resolver = *from;
}

void network_configured(void) {
    wait_wake_all(&changed);
}

// The runtime will read the options; but a question to DHCP should be on its way before.
static bool has_static_address(void) {
    for (const char *at = boot_command_line; *at; at++) {
        if ((at == boot_command_line || at[-1] == ' ') && !strncmp(at, "--ip=", 5))
            return true;
    }
    return false;
}

void network_found(struct interface *interface) {
    if (!has_static_address() && dhcp_start(interface) < 0)
        kprintf("%s: not enough memory for DHCP\n", interface->name);
}

void network_link_up(struct interface *interface) {
    if (interface->address)
        arp_announce(interface);
    dhcp_link_up(interface);
}

// a.b.c.d, all four parts, decimal.
static bool parse_address(const char *text, ipv4_address *out) {
    u8 bytes[4];

    for (int i = 0; i < 4; i++) {
        unsigned value = 0, digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 4; digits++)
            value = value * 10 + (unsigned)(*text++ - '0');
        if (!digits || value > 255 || *text++ != (i < 3 ? '.' : 0))
            return false;
        bytes[i] = (u8)value;
    }
    memcpy(out, bytes, 4);
    return true;
}

int core_network_address(const char *name, const char *address, const char *netmask) {
    ipv4_address a, m;

    if (!parse_address(address, &a) || !parse_address(netmask, &m))
        return -EINVAL;
    network_lock();
    struct interface *interface = interface_find(name);
    if (interface) {
        dhcp_stop(interface);
        interface_set_address(interface, a, m);
    }
    network_unlock();
    return interface ? 0 : -ENODEV;
}

// The gateway belongs to the interface whose network it is in.
int core_network_gateway(const char *address) {
    ipv4_address a;
    struct route route;

    if (!parse_address(address, &a))
        return -EINVAL;
    network_lock();
    int status = route_find(a, &route);
    if (status == 0)
        route.interface->gateway = a;
    network_unlock();
    return status;
}

int core_network_nameserver(const char *address) {
    struct resolver r = {.count = 1};

    if (!parse_address(address, &r.servers[0]))
        return -EINVAL;
    network_lock();
    network_resolver_set(&r);
    network_unlock();
    return 0;
}

static bool all_have_addresses(void) {
    bool all = true;

    network_lock();
    LIST_EACH(interfaces(), i, struct interface, link)
    all &= !dhcp_is_asking(i);
    network_unlock();
    return all;
}

bool core_network_wait(void) {
    WAIT_FOR(&changed, all_have_addresses(), clock_monotonic() + DHCP_PATIENCE, false);
    return all_have_addresses();
}

bool core_network_interface(int number, char name[16], char address[16]) {
    struct interface *found = NULL;

    network_lock();
    LIST_EACH(interfaces(), i, struct interface, link) {
        if (!(i->flags & IFF_LOOPBACK) && number-- == 0)
            found = i;
    }
    if (found) {
        const u8 *a = (const u8 *)&found->address;
        memcpy(name, found->name, 16);
        format_string(address, 16, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
        if (!found->address)
            address[0] = 0;
    }
    network_unlock();
    return found;
}
