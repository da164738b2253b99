// DHCP's messages: see dhcp_message.h.
//
// Invariant: reading looks at no byte beyond the message; an option that is too short for what it
// should hold, or would end behind the message, is as if it were not there.

#include "dhcp_message.h"

#include <string.h>

#include "ipv4.h"
#include "packet.h"

enum { BOOT_REQUEST = 1, BOOT_REPLY = 2, HARDWARE_ETHERNET = 1 };
enum { OVERLOAD_FILE = 1, OVERLOAD_SERVER_NAME = 2 };
enum option {
    OPTION_PAD = 0,
    OPTION_NETMASK = 1,
    OPTION_ROUTER = 3,
    OPTION_NAMESERVERS = 6,
    OPTION_HOST = 12,
    OPTION_DOMAIN = 15,
    OPTION_MTU = 26,
    OPTION_REQUESTED = 50,
    OPTION_LEASE = 51,
    OPTION_OVERLOAD = 52,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_WANTED = 55,
    OPTION_LARGEST = 57,
    OPTION_RENEW = 58,
    OPTION_REBIND = 59,
    OPTION_END = 255,
};

#define COOKIE swap32(0x63825363)
#define LARGEST 1500 // what one frame holds is what we take
#define OPTIONS_ROOM 312UL

struct message {
    u8 operation, hardware, hardware_size, hops;
    u32 transaction;
    u16 seconds, flags;
    ipv4_address client, yours, next_server, relay;
    u8 hardware_address[16];
    u8 server_name[64], file[128];
    u32 cookie;
    u8 options[];
} __attribute__((packed));

struct udp {
    u16 source, destination, length, checksum;
} __attribute__((packed, aligned(2)));

// --- Writing ---

static u8 *put(u8 *at, enum option option, const void *value, size_t size) {
    *at++ = (u8)option;
    *at++ = (u8)size;
    memcpy(at, value, size);
    return at + size;
}

static void put_options(u8 *at, const struct dhcp_question *q) {
    static const u8 wanted[] = {OPTION_NETMASK, OPTION_ROUTER, OPTION_NAMESERVERS, OPTION_DOMAIN,
                                OPTION_MTU,     OPTION_LEASE,  OPTION_RENEW,       OPTION_REBIND};
    const u16 largest = swap16(LARGEST);
    const u8 type = (u8)q->type;

    at = put(at, OPTION_TYPE, &type, 1);
    if (q->requested)
        at = put(at, OPTION_REQUESTED, &q->requested, 4);
    if (q->server)
        at = put(at, OPTION_SERVER, &q->server, 4);
    if (q->host && *q->host)
        at = put(at, OPTION_HOST, q->host, MIN(strlen(q->host), 64UL));
    at = put(at, OPTION_LARGEST, &largest, 2);
    at = put(at, OPTION_WANTED, wanted, sizeof(wanted));
    *at = OPTION_END;
}

struct packet *dhcp_write(const struct dhcp_question *q) {
    size_t size = sizeof(struct udp) + sizeof(struct message) + OPTIONS_ROOM;
    struct packet *packet = packet_allocate(size);

    if (!packet)
        return NULL;
    struct udp *udp = packet_put(packet, size);
    struct message *m = (struct message *)(udp + 1);
    memset(udp, 0, size);
    *udp = (struct udp){swap16(DHCP_CLIENT_PORT), swap16(DHCP_SERVER_PORT), swap16((u16)size), 0};
    m->operation = BOOT_REQUEST;
    m->hardware = HARDWARE_ETHERNET;
    m->hardware_size = 6;
    m->transaction = q->transaction;
    m->seconds = swap16(q->seconds);
    m->client = q->client;
    memcpy(m->hardware_address, q->mac, 6);
    m->cookie = COOKIE;
    put_options(m->options, q);
    u64 sum = checksum_pseudo_header(q->from, q->to, IP_UDP, size);
    u16 checksum = checksum_finish(checksum_add(sum, udp, size));
    udp->checksum = checksum ? checksum : UINT16_MAX;
    return packet;
}

// --- Reading ---

static u32 number(const u8 *value, size_t size, size_t wanted) {
    u32 n = 0;

    if (size < wanted)
        return 0;
    for (size_t i = 0; i < wanted; i++)
        n = n << 8 | value[i];
    return n;
}

static void take_domain(const u8 *value, size_t size, struct dhcp_answer *out) {
    // It becomes a word in a file: only what names are made of.
    for (size_t i = 0; i < size && (value[i] || i + 1 < size); i++) {
        u8 c = value[i], letter = c | 32;
        bool good = (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                    c == '.' || c == '_';
        if (!good) {
            out->domain[0] = 0;
            return;
        }
        out->domain[i] = (char)c;
    }
}

static void take_nameservers(const u8 *value, size_t size, struct dhcp_answer *out) {
    for (size_t i = 0; i + 4 <= size && out->nameserver_count < NAMESERVERS; i += 4)
        out->nameservers[out->nameserver_count++] = swap32(number(value + i, 4, 4));
}

static void take_option(enum option option, const u8 *value, size_t size, struct dhcp_answer *out) {
    switch (option) {
    case OPTION_TYPE:
        out->type = number(value, size, 1);
        break;
    case OPTION_SERVER:
        out->server = swap32(number(value, size, 4));
        break;
    case OPTION_NETMASK:
        out->netmask = swap32(number(value, size, 4));
        break;
    case OPTION_ROUTER:
        out->gateway = swap32(number(value, size, 4));
        break;
    case OPTION_NAMESERVERS:
        take_nameservers(value, size, out);
        break;
    case OPTION_DOMAIN:
        take_domain(value, size, out);
        break;
    case OPTION_MTU:
        out->mtu = number(value, size, 2);
        break;
    case OPTION_LEASE:
        out->lease = number(value, size, 4);
        break;
    case OPTION_RENEW:
        out->renew = number(value, size, 4);
        break;
    case OPTION_REBIND:
        out->rebind = number(value, size, 4);
        break;
    default:
        break;
    }
}

// Returns which other fields hold options, too.
static u8 take_options(const u8 *at, size_t size, struct dhcp_answer *out) {
    const u8 *end = at + size;
    u8 overload = 0;

    while (at < end && *at != OPTION_END) {
        if (*at == OPTION_PAD) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] > end - at - 2)
            break;
        if (*at == OPTION_OVERLOAD)
            overload = (u8)number(at + 2, at[1], 1);
        take_option(*at, at + 2, at[1], out);
        at += 2 + at[1];
    }
    return overload;
}

bool dhcp_read(const u8 *bytes, size_t size, u32 transaction, const u8 *mac,
               struct dhcp_answer *out) {
    const struct message *m = (const void *)bytes;

    *out = (struct dhcp_answer){0};
    if (size < sizeof(*m) || m->operation != BOOT_REPLY || m->hardware != HARDWARE_ETHERNET ||
        m->hardware_size != 6 || m->transaction != transaction || m->cookie != COOKIE ||
        memcmp(m->hardware_address, mac, 6))
        return false;
    out->address = m->yours;
    u8 overload = take_options(m->options, size - sizeof(*m), out);
    if (overload & OVERLOAD_FILE)
        take_options(m->file, sizeof(m->file), out);
    if (overload & OVERLOAD_SERVER_NAME)
        take_options(m->server_name, sizeof(m->server_name), out);
    return out->type == DHCP_OFFER || out->type == DHCP_ACK || out->type == DHCP_NAK;
}
