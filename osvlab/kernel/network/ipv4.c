// IPv4 (RFC 791) as a host speaks it (RFC 1122 chapter 3): nothing is forwarded.
//
// Invariant: what is handed to a transport protocol has a valid header, came in by the interface
// whose address it was sent to (or was broadcast there), and is whole. Options are skipped, and
// source routes among them never followed.

#include "ipv4.h"

#include <net/if.h>

#include "layers.h"
#include "network.h"

#define TIME_TO_LIVE 64
#define VERSION_AND_LENGTH 0x45
#define ALL_HOSTS swap32(0xe0000001) // 224.0.0.1
#define EVERYBODY UINT32_MAX
#define LOOPBACK swap32(0x7f000001)

bool ipv4_is_broadcast(const struct interface *interface, ipv4_address address) {
    ipv4_address mask = interface->netmask;

    if (address == EVERYBODY)
        return true;
    // Networks of one or two hosts have no broadcast address (RFC 3021).
    return interface->address && swap32(~mask) > 1 && !((address ^ interface->address) & mask) &&
           (address | mask) == EVERYBODY;
}

// A header without options adds up in one register.
static u64 header_sum(const struct ipv4_header *header) {
    const struct {
        u32 word[5];
    } __attribute__((packed, aligned(2), may_alias)) *w = (const void *)header;

    return (u64)w->word[0] + w->word[1] + w->word[2] + w->word[3] + w->word[4];
}

void ipv4_header_seal(struct ipv4_header *header) {
    header->checksum = 0;
    header->checksum = checksum_finish(header_sum(header));
}

// --- Routes: own networks, then the gateway ---

static bool usable(const struct interface *i) {
    return (i->flags & IFF_UP) && !(i->flags & IFF_LOOPBACK) && i->address;
}

static struct interface *on_link(ipv4_address destination) {
    struct interface *best = NULL;

    LIST_EACH(interfaces(), i, struct interface, link) {
        if (usable(i) && !((destination ^ i->address) & i->netmask) &&
            (!best || swap32(i->netmask) > swap32(best->netmask)))
            best = i;
    }
    return best;
}

static struct interface *with_gateway(bool must_have) {
    struct interface *first = NULL;

    LIST_EACH(interfaces(), i, struct interface, link) {
        if (usable(i) && i->gateway)
            return i;
        if (usable(i) && !first)
            first = i;
    }
    return must_have ? NULL : first;
}

int route_find(ipv4_address destination, struct route *out) {
    struct interface *own = interface_of_address(destination);

    if (own || ipv4_is_loopback(destination)) {
        struct interface *lo = interface_of_address(LOOPBACK);
        *out = (struct route){lo, own ? destination : LOOPBACK, destination};
        return lo ? 0 : -ENETUNREACH;
    }
    bool group = destination == EVERYBODY || ipv4_is_multicast(destination);
    struct interface *interface = group ? with_gateway(false) : on_link(destination);
    if (interface) {
        *out = (struct route){interface, interface->address, destination};
        return 0;
    }
    interface = group ? NULL : with_gateway(true);
    if (!interface || !destination)
        return -ENETUNREACH;
    *out = (struct route){interface, interface->address, interface->gateway};
    return 0;
}

// --- Sending ---

int ipv4_output(struct packet *packet, ipv4_address next_hop) {
    struct interface *interface = packet->interface;

    if (interface->flags & IFF_LOOPBACK)
        return interface_transmit(interface, packet);
    if (ipv4_is_broadcast(interface, next_hop))
        return ethernet_send(packet, ethernet_broadcast, ETHERNET_IPV4);
    if (ipv4_is_multicast(next_hop)) { // the lower 23 bits (RFC 1112 section 6.4)
        u32 group = swap32(next_hop);
        u8 mac[6] = {0x01, 0x00, 0x5e, group >> 16 & 0x7f, (u8)(group >> 8), (u8)group};
        return ethernet_send(packet, mac, ETHERNET_IPV4);
    }
    return arp_send(packet, next_hop);
}

static void complete_checksum(struct packet *packet) {
    u16 *field = (u16 *)(packet->data + packet->checksum_offset);
    u16 sum = checksum_finish(checksum_add(0, packet->data, packet->length));

    *field = sum ? sum : UINT16_MAX; // 0 would mean none, in UDP
    packet->checksum_partial = false;
}

static int refuse(struct packet *packet, int status) {
    packet_free(packet);
    return status;
}

int ipv4_send(struct packet *packet, ipv4_address source, ipv4_address destination, u8 protocol,
              const struct ipv4_options *options) {
    static const struct ipv4_options defaults;
    static u16 identification;
    struct route route;

    if (!options)
        options = &defaults;
    if (route_find(destination, &route) < 0)
        return refuse(packet, -ENETUNREACH);
    if (ipv4_is_loopback(source) && !(route.interface->flags & IFF_LOOPBACK))
        return refuse(packet, -EINVAL);
    if (ipv4_is_broadcast(route.interface, destination) && !options->broadcast_allowed)
        return refuse(packet, -EACCES);
    size_t size = packet->length + IPV4_HEADER;
    bool fits = size <= route.interface->mtu;
    if (size > UINT16_MAX || (!fits && options->dont_fragment))
        return refuse(packet, -EMSGSIZE);
    if (packet->checksum_partial && !(fits && route.interface->sends_checksums))
        complete_checksum(packet);

    struct ipv4_header *header = packet_push(packet, sizeof(*header));
    *header = (struct ipv4_header){
        .version_and_length = VERSION_AND_LENGTH,
        .service = options->service,
        .total_length = swap16((u16)size),
        .identification = swap16(identification++),
        .fragment = options->dont_fragment ? swap16(FRAGMENT_DONT) : 0,
        .time_to_live = options->time_to_live ? options->time_to_live : TIME_TO_LIVE,
        .protocol = protocol,
        .source = source ? source : route.source,
        .destination = destination,
    };
    ipv4_header_seal(header);
    packet->checksum_start = IPV4_HEADER;
    packet->interface = route.interface;
    return fits ? ipv4_output(packet, route.next_hop) : fragments_send(packet, route.next_hop);
}

// --- Receiving ---

// The header, or NULL when it cannot be right. What follows the datagram in its frame (short
// frames are padded) is cut off.
static const struct ipv4_header *take_header(struct packet *packet, bool verified) {
    const struct ipv4_header *header = (const void *)packet->data;

    if (packet->length < IPV4_HEADER || header->version_and_length >> 4 != 4)
        return NULL;
    size_t size = ipv4_header_size(header), total = swap16(header->total_length);
    if (size < IPV4_HEADER || total < size || total > packet->length)
        return NULL;
    if (!verified) {
        u64 sum = size == IPV4_HEADER ? header_sum(header) : checksum_add(0, header, size);
        if (checksum_finish(sum))
            return NULL;
    }
    packet->length = (u32)total;
    return packet_pull(packet, size);
}

static bool may_come_from(const struct interface *interface, ipv4_address source) {
    if (interface->flags & IFF_LOOPBACK)
        return true;
    return !ipv4_is_multicast(source) && !ipv4_is_loopback(source) &&
           !ipv4_is_broadcast(interface, source) && !interface_of_address(source);
}

static bool is_for_us(struct packet *packet, const struct interface *interface) {
    ipv4_address to = packet->destination;

    if (interface->flags & IFF_LOOPBACK)
        return ipv4_is_loopback(to) || interface_of_address(to);
    if (to && to == interface->address)
        return !packet->broadcast; // RFC 1122 section 3.3.6
    packet->broadcast = true;
    return ipv4_is_broadcast(interface, to) || to == ALL_HOSTS;
}

static void deliver(struct packet *packet) {
    switch (packet->ip->protocol) {
    case IP_TCP:
        tcp_receive(packet);
        break;
    case IP_UDP:
        udp_receive(packet);
        break;
    case IP_ICMP:
        icmp_receive(packet);
        break;
    default:
        icmp_send_error(packet, ICMP_UNREACHABLE, ICMP_PROTOCOL);
        packet_free(packet);
    }
}

void ipv4_receive(struct interface *interface, struct packet *packet) {
    const struct ipv4_header *header =
        take_header(packet, (interface->flags & IFF_LOOPBACK) && packet->checksum_good);

    if (!header) {
        interface->received.errors++;
        packet_free(packet);
        return;
    }
    packet->ip = header;
    packet->source = header->source;
    packet->destination = header->destination;
    if (!may_come_from(interface, header->source)) {
        packet_free(packet);
        return;
    }
    bool whole = !(header->fragment & swap16(FRAGMENT_MORE | FRAGMENT_OFFSET));
    if (whole && header->protocol == IP_UDP && dhcp_receive(packet))
        return;
    if (!header->source || !is_for_us(packet, interface)) {
        packet_free(packet);
        return;
    }
    if (!whole)
        packet = fragments_add(packet);
    if (packet)
        deliver(packet);
}

void ipv4_report(const struct ipv4_header *sent, int error, u32 mtu) {
    const u8 *transport = (const u8 *)sent + ipv4_header_size(sent);

    if (sent->fragment & swap16(FRAGMENT_OFFSET))
        return; // does not begin with the transport's header
    if (sent->protocol == IP_TCP)
        tcp_error(sent, transport, error, mtu);
    else if (sent->protocol == IP_UDP)
        udp_error(sent, transport, error);
}
