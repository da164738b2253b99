// ICMP (RFC 792, RFC 1122 section 3.2.2): echoes are answered, errors go both ways.
//
// Invariant: no error is ever sent about an error, about what was sent to many, about a later
// fragment, or to an address that is no single host's; and no more than ERRORS_BURST at once and
// one per ERROR_INTERVAL after that. Redirects and source quenches are ignored: they would let
// anybody steer us (RFC 6633).

#include <string.h>

#include "layers.h"
#include "network.h"

enum { ECHO_REPLY = 0, ECHO = 8 };

#define QUOTED 8UL        // bytes of the transport's header that errors must bring back
#define QUOTED_MOST 548UL // RFC 1812: an error is at most 576 bytes long
#define ERRORS_BURST 50
#define ERROR_INTERVAL (10 * MILLISECOND)
#define MTU_LEAST 552U // no real path needs less; else a forged error could make us send crumbs

struct icmp_header {
    u8 type, code;
    u16 checksum;
    u16 unused, mtu;
} __attribute__((packed, aligned(2)));

static bool is_error(u8 type) {
    return type != ECHO && type != ECHO_REPLY && type != 13 && type != 14; // timestamps
}

static bool within_rate(void) {
    static u64 full_at; // when the bucket has all its tokens again
    u64 now = network_now(), start = MAX(full_at, now);

    if (start - now > (ERRORS_BURST - 1) * ERROR_INTERVAL)
        return false;
    full_at = start + ERROR_INTERVAL;
    return true;
}

static bool deserves_error(const struct packet *about) {
    const struct ipv4_header *ip = about->ip;

    if (about->broadcast || !ip->source || (ip->fragment & swap16(FRAGMENT_OFFSET)) ||
        ipv4_is_multicast(ip->source) || ipv4_is_broadcast(about->interface, ip->source))
        return false;
    const struct icmp_header *icmp = (const void *)((const u8 *)ip + ipv4_header_size(ip));
    size_t size = (size_t)(about->data + about->length - (const u8 *)icmp);
    return ip->protocol != IP_ICMP || (size >= 1 && !is_error(icmp->type));
}

void icmp_send_error(const struct packet *about, u8 type, u8 code) {
    if (!deserves_error(about) || !within_rate())
        return;
    size_t available = (size_t)(about->data + about->length - (const u8 *)about->ip);
    size_t quoted = MIN(available, QUOTED_MOST);
    struct packet *packet = packet_allocate(sizeof(struct icmp_header) + quoted);
    if (!packet)
        return;
    struct icmp_header *header = packet_put(packet, sizeof(*header));
    *header = (struct icmp_header){.type = type, .code = code};
    memcpy(packet_put(packet, quoted), about->ip, quoted);
    header->checksum = checksum_finish(checksum_add(0, packet->data, packet->length));
    ipv4_send(packet, about->destination, about->source, IP_ICMP, NULL);
}

// The request becomes the answer: only its type, and so its checksum, change (RFC 1624).
static void answer_echo(struct packet *packet) {
    struct icmp_header *header = (struct icmp_header *)packet->data;

    header->type = ECHO_REPLY;
    header->checksum = checksum_finish((u64)(u16)~header->checksum + (u16)~ECHO);
    ipv4_send(packet, packet->destination, packet->source, IP_ICMP, NULL);
}

static int error_of(u8 type, u8 code) {
    if (type == ICMP_TIME_EXCEEDED)
        return EHOSTUNREACH;
    if (type == ICMP_PARAMETER)
        return EPROTO;
    switch (code) {
    case ICMP_PROTOCOL:
        return ENOPROTOOPT;
    case ICMP_PORT:
        return ECONNREFUSED;
    case ICMP_FRAGMENTATION_NEEDED:
        return EMSGSIZE;
    case ICMP_NET:
        return ENETUNREACH;
    default:
        return EHOSTUNREACH;
    }
}

// What the error quotes must be something that we could have sent.
static void take_error(const struct icmp_header *header, struct packet *packet) {
    const struct ipv4_header *sent = (const void *)packet->data;

    if (packet->length < IPV4_HEADER + QUOTED || sent->version_and_length >> 4 != 4 ||
        ipv4_header_size(sent) < IPV4_HEADER || packet->length < ipv4_header_size(sent) + QUOTED ||
        sent->source != packet->destination)
        return;
    u32 mtu = MAX(swap16(header->mtu), MTU_LEAST);
    ipv4_report(sent, error_of(header->type, header->code), mtu);
}

void icmp_receive(struct packet *packet) {
    bool good =
        packet->length >= sizeof(struct icmp_header) &&
        (packet->checksum_good || !checksum_finish(checksum_add(0, packet->data, packet->length)));
    const struct icmp_header *header = (const void *)packet->data;

    if (!good || packet->broadcast) {
        packet->interface->received.errors += !good;
    } else if (header->type == ECHO && header->code == 0) {
        answer_echo(packet);
        return;
    } else if (header->type == ICMP_UNREACHABLE || header->type == ICMP_TIME_EXCEEDED ||
               header->type == ICMP_PARAMETER) {
        packet_pull(packet, sizeof(*header));
        take_error(header, packet);
    }
    packet_free(packet);
}
