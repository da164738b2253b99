// The interfaces: a list of them, and what goes through it.
//
// Invariant: `announced` is false exactly for interfaces with frames that their device has not
// been told about; `unannounced` says whether there are any, so that giving the lock back is
// cheap when nothing was sent.

#include "interface.h"

#include <net/if.h>
#include <string.h>

#include "layers.h"
#include "network.h"
#include "print.h"

static struct list all = LIST(all);
static bool unannounced;

struct list *interfaces(void) {
    return &all;
}

void interface_register(struct interface *interface) {
    static int last_index;
    unsigned number = 0;

    if (strchr(interface->name, '%')) {
        LIST_EACH(&all, other, struct interface, link)
        number += !(other->flags & IFF_LOOPBACK);
        char pattern[sizeof(interface->name)];
        memcpy(pattern, interface->name, sizeof(pattern));
        *strchr(pattern, '%') = 0;
        format_string(interface->name, sizeof(interface->name), "%s%u", pattern, number);
    }
    interface->index = ++last_index;
    interface->announced = true;
    list_append(&all, &interface->link);
}

struct interface *interface_find(const char *name) {
    LIST_EACH(&all, interface, struct interface, link) {
        if (!strcmp(interface->name, name))
            return interface;
    }
    return NULL;
}

struct interface *interface_of_index(int index) {
    LIST_EACH(&all, interface, struct interface, link) {
        if (interface->index == index)
            return interface;
    }
    return NULL;
}

struct interface *interface_of_address(ipv4_address address) {
    LIST_EACH(&all, interface, struct interface, link) {
        if (address && interface->address == address)
            return interface;
    }
    return NULL;
}

void interfaces_each(void (*visit)(struct interface *, void *), void *argument) {
    LIST_EACH(&all, interface, struct interface, link)
    visit(interface, argument);
}

void interface_receive(struct interface *interface, struct packet *packet) {
    interface->received.packets++;
    interface->received.bytes += packet->length;
    packet->interface = interface;
    if (!(interface->flags & IFF_UP))
        packet_free(packet);
    else if (interface->flags & IFF_LOOPBACK)
        ipv4_receive(interface, packet);
    else
        ethernet_receive(interface, packet);
}

int interface_transmit(struct interface *interface, struct packet *packet) {
    u32 length = packet->length;

    if (!(interface->flags & IFF_UP)) {
        packet_free(packet);
        return -ENETDOWN;
    }
    interface->announced = false;
    unannounced = true;
    int status = interface->transmit(interface, packet);
    if (status < 0) {
        interface->sent.dropped++;
    } else {
        interface->sent.packets++;
        interface->sent.bytes += length;
    }
    return status;
}

void interfaces_flush(void) {
    if (!unannounced)
        return;
    unannounced = false;
    LIST_EACH(&all, interface, struct interface, link) {
        if (!interface->announced && interface->flush)
            interface->flush(interface);
        interface->announced = true;
    }
}

void interfaces_poll(void) {
    LIST_EACH(&all, interface, struct interface, link) {
        if (interface->poll)
            interface->poll(interface);
    }
}

void interface_set_address(struct interface *interface, ipv4_address address,
                           ipv4_address netmask) {
    ipv4_address old = interface->address;

    interface->address = address;
    interface->netmask = netmask;
    if (old == address)
        return;
    arp_forget(interface);
    if (old)
        tcp_address_gone(old);
    if (address && !(interface->flags & IFF_LOOPBACK))
        arp_announce(interface);
}
