// UDP (RFC 768; RFC 1122 section 4.1): datagrams between ports, with a checksum and nothing else.
//
// Invariant: a packet in a socket's queue has been verified, its data is at the payload, and all
// that are queued count at most udp_limit; what comes in beyond that is dropped. An ICMP error
// reaches the socket that is connected to where the packet went, by its next call (RFC 1122,
// 4.1.3.3).

#include "udp.h"

#include <string.h>

#include "control.h"
#include "layers.h"

#define LIMIT_DEFAULT 212992

size_t udp_limit(const struct udp *udp) {
    u32 limit = udp->socket->receive_buffer;
    return limit == 0 ? LIMIT_DEFAULT : limit;
}

// --- Up ---

// The header, taken off, or NULL when it cannot be right. What follows the datagram is cut off.
static const struct udp_header *take_header(struct packet *packet) {
    const struct udp_header *header = (const void *)packet->data;
    if (packet->length < sizeof(*header))
        return NULL;
    size_t length = swap16(header->length);
    if (length < sizeof(*header) || length > packet->length)
        return NULL;
    packet->length = (u32)length;
    if (header->checksum != 0 && !packet->checksum_good) {
        u64 sum =
            checksum_pseudo_header(packet->source, packet->destination, IP_UDP, packet->length);
        if (checksum_finish(checksum_add(sum, packet->data, packet->length)) != 0)
            return NULL;
    }
    return packet_pull(packet, sizeof(*header));
}

static void enqueue(struct udp *udp, struct packet *packet) {
    size_t charge = UDP_CHARGE(packet);
    if (udp->shut_read || udp->queued + charge > udp_limit(udp)) {
        packet_free(packet);
        return;
    }
    udp->queued += charge;
    list_append(&udp->queue, &packet->link);
    socket_readable(udp->socket);
}

static struct packet *copy(const struct packet *packet) {
    u32 above = (u32)(packet->data - (const u8 *)packet->ip); // both headers: they are told, too
    struct packet *twin = packet_allocate(above + packet->length);
    if (twin == NULL)
        return NULL;
    memcpy(packet_put(twin, above + packet->length), packet->ip, above + packet->length);
    twin->ip = (const void *)twin->data;
    packet_pull(twin, above);
    twin->interface = packet->interface;
    twin->source = packet->source;
    twin->destination = packet->destination;
    return twin;
}

// A broadcast is for everybody who wants it.
static void spread(struct packet *packet, const struct udp_header *header) {
    u16 to = header->destination, from = header->source;
    for (struct udp *udp = NULL;
         (udp = udp_next(udp, packet->destination, to, packet->source, from)) != NULL;) {
        struct packet *twin = copy(packet);
        if (twin != NULL)
            enqueue(udp, twin);
    }
    packet_free(packet);
}

void udp_receive(struct packet *packet) {
    const struct udp_header *header = take_header(packet);
    if (header == NULL) {
        packet_free(packet);
        return;
    }
    if (packet->broadcast) {
        spread(packet, header);
        return;
    }
    struct udp *udp =
        udp_find(packet->destination, header->destination, packet->source, header->source);
    if (udp != NULL) {
        enqueue(udp, packet);
        return;
    }
    icmp_send_error(packet, ICMP_UNREACHABLE, ICMP_PORT);
    packet_free(packet);
}

// A socket that did not ask for all errors (IP_RECVERR) hears only of those that will not pass.
void udp_error(const struct ipv4_header *sent, const u8 *transport, int error) {
    struct udp_header header;
    memcpy(&header, transport, sizeof(header));
    struct udp *udp = udp_find(sent->source, header.source, sent->destination, header.destination);
    if (udp == NULL)
        return;
    bool lasting = error == ECONNREFUSED || error == ENOPROTOOPT || error == EMSGSIZE;
    if (udp->socket->ip.tells_errors || (lasting && udp->peer_port != 0))
        socket_fail(udp->socket, error);
}

// --- Down ---

struct target {
    ipv4_address source, destination;
    u16 port;
    struct ipv4_options options;
};

static int name_target(const struct udp *udp, const struct message *message, struct target *out) {
    const struct sockaddr_in *to = (const void *)&message->address;
    if (message->address_size == 0) {
        if (udp->peer_port == 0)
            return -EDESTADDRREQ;
        out->destination = udp->peer;
        out->port = udp->peer_port;
        return 0;
    }
    if (message->address_size < sizeof(*to))
        return -EINVAL;
    if (to->sin_family != AF_INET && to->sin_family != AF_UNSPEC)
        return -EAFNOSUPPORT;
    if (to->sin_port == 0)
        return -EINVAL;
    out->destination = to->sin_addr.s_addr;
    out->port = to->sin_port;
    return 0;
}

static bool can_be_source(ipv4_address address) {
    return address != 0 && address != UINT32_MAX && !ipv4_is_multicast(address);
}

// Where the packet goes, and from which address: the checksum covers both.
static int find_target(const struct udp *udp, const struct message *message, struct target *out) {
    const struct control *control = message->control;
    int status = name_target(udp, message, out);
    if (status < 0)
        return status;
    out->source = can_be_source(udp->address) ? udp->address : 0;
    if (control != NULL && control->has_packet && control->packet.ipi_spec_dst.s_addr != 0)
        out->source = control->packet.ipi_spec_dst.s_addr;
    if (out->destination == 0) // this host
        out->destination = out->source != 0 ? out->source : swap32(INADDR_LOOPBACK);
    const struct ip_settings *ip = &udp->socket->ip;
    out->options = (struct ipv4_options){
        .time_to_live =
            ipv4_is_multicast(out->destination) ? ip->group_time_to_live : ip->time_to_live,
        .service = ip->service,
        .dont_fragment = ip->discovery == IP_PMTUDISC_DO || ip->discovery == IP_PMTUDISC_PROBE,
        .broadcast_allowed = udp->socket->broadcast,
    };
    if (control != NULL && control->has_time_to_live)
        out->options.time_to_live = (u8)control->time_to_live;
    if (control != NULL && control->has_service)
        out->options.service = (u8)control->service;
    struct route route;
    if (out->source != 0)
        return 0;
    status = route_find(out->destination, &route);
    out->source = route.source;
    return status;
}

// The pseudo header's sum is left for the device, or for IPv4, to complete (packet.h).
static void write_header(struct packet *packet, const struct target *target, u16 from) {
    struct udp_header *header = packet_push(packet, sizeof(*header));
    *header = (struct udp_header){
        .source = from, .destination = target->port, .length = swap16((u16)packet->length)};
    header->checksum = (u16)~checksum_finish(
        checksum_pseudo_header(target->source, target->destination, IP_UDP, packet->length));
    packet->checksum_partial = true;
    packet->checksum_offset = offsetof(struct udp_header, checksum);
}

long udp_send(struct socket *socket, struct message *message) {
    struct udp *udp = socket->connection;
    struct target target = {0};
    if (message->size > UDP_LARGEST)
        return -EMSGSIZE;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (udp->shut_write)
        return -EPIPE;
    int status = find_target(udp, message, &target);
    if (status == 0 && udp->port == 0)
        status = udp_take_port(udp, udp->address, 0);
    if (status < 0)
        return status;
    struct packet *packet = packet_allocate(message->size);
    if (packet == NULL)
        return -ENOBUFS;
    status = message_read(message, packet_put(packet, message->size), message->size);
    if (status < 0) {
        packet_free(packet);
        return status;
    }
    write_header(packet, &target, udp->port);
    status = ipv4_send(packet, target.source, target.destination, IP_UDP, &target.options);
    if (status == -ENOBUFS &&
        !udp->socket->ip.tells_errors) // lost on the way, which may happen anywhere
        status = 0;
    return status < 0 ? status : (long)message->size;
}

// --- To the application ---

static void tell(const struct udp *udp, const struct packet *packet, struct message *message) {
    const struct udp_header *header = (const void *)(packet->data - sizeof(*header));
    struct sockaddr_in from = {
        .sin_family = AF_INET, .sin_port = header->source, .sin_addr.s_addr = packet->source};
    memcpy(&message->address, &from, sizeof(from));
    message->address_size = sizeof(from);
    struct control *control = message->control;
    if (control == NULL)
        return;
    control->has_packet = udp->socket->ip.tells_packet;
    control->packet = (struct in_pktinfo){.ipi_ifindex = packet->interface->index,
                                          .ipi_addr.s_addr = packet->destination};
    control->packet.ipi_spec_dst.s_addr =
        packet->broadcast ? packet->interface->address : packet->destination;
    control->has_time_to_live = udp->socket->ip.tells_time_to_live;
    control->time_to_live = packet->ip->time_to_live;
    control->has_service = udp->socket->ip.tells_service;
    control->service = packet->ip->service;
}

long udp_take(struct socket *socket, struct message *message) {
    struct udp *udp = socket->connection;
    struct packet *packet = LIST_FIRST(&udp->queue, struct packet, link);
    if (message->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    if (packet == NULL)
        return udp->shut_read ? 0 : -EAGAIN;
    size_t length = packet->length;
    tell(udp, packet, message);
    int status = message_write(message, packet->data, length);
    if (message->done < length)
        message->flags_out |= MSG_TRUNC;
    if (!(message->flags & MSG_PEEK)) {
        udp->queued -= UDP_CHARGE(packet);
        list_remove(&packet->link);
        packet_free(packet);
    }
    return status < 0 ? status : (long)(message->flags & MSG_TRUNC ? length : message->done);
}
