// Ethernet frames (RFC 894): 14 bytes that say to whom, from whom, and what is inside.

#include <net/if.h>

#include "layers.h"

const u8 ethernet_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void ethernet_receive(struct interface *interface, struct packet *packet) {
    const struct ethernet_header *header = packet_pull(packet, sizeof(*header));
    bool group = header && ethernet_is_group(header->destination);

    if (!header || ethernet_is_group(header->source) ||
        (!group && !ethernet_equal(header->destination, interface->mac))) {
        interface->received.errors += !header;
        packet_free(packet);
        return;
    }
    packet->broadcast = group;
    if (header->type == swap16(ETHERNET_IPV4))
        ipv4_receive(interface, packet);
    else if (header->type == swap16(ETHERNET_ARP))
        arp_receive(packet);
    else
        packet_free(packet);
}

int ethernet_send(struct packet *packet, const u8 *destination, u16 type) {
    struct interface *interface = packet->interface;
    struct ethernet_header *header = packet_push(packet, sizeof(*header));

    ethernet_copy(header->destination, destination);
    ethernet_copy(header->source, interface->mac);
    header->type = swap16(type);
    packet->checksum_start += sizeof(*header);
    return interface_transmit(interface, packet);
}
