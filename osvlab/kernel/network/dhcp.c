// The DHCP client (RFC 2131 section 4.4): an address on loan, looked after by a state machine on
// the network's timers. It makes its own UDP packets, because it speaks before there is an address.
//
//     SELECTING --offer--> REQUESTING --ack--> BOUND --T1--> RENEWING --T2--> REBINDING
//         ^                    |                 ^--------------ack--------------|
//         `-----nak, silence, expiry-------------------------------------------- '
//
// Invariant: an interface has the address of its lease exactly in the last three states.
//
// At the end no DHCPRELEASE is sent, which the RFC leaves to the client: a machine that turns itself
// off would have to wait for its device, and a guest that boots again gets its address again.

#include <net/if.h>
#include <string.h>
#include <sys/utsname.h>

#include "dhcp_message.h"
#include "files/vnode.h"
#include "layers.h"
#include "memory.h"
#include "network.h"
#include "print.h"
#include "syscalls.h"

#define FIRST_TRY SECOND
#define LONGEST_TRY (64 * SECOND)
#define REQUESTS_MOST 4
#define RETRY_LEAST (60 * SECOND) // of renewing
#define HASTY_TRIES 4             // when the cable is back
#define LEASE_LEAST 30U           // seconds: nobody lends for less
#define FOREVER UINT32_MAX

enum state { SELECTING, REQUESTING, BOUND, RENEWING, REBINDING };

struct dhcp {
    struct network_timer timer;
    struct interface *interface;
    enum state state;
    u32 transaction;
    unsigned tries;
    u64 began; // to ask
    ipv4_address server, offered;
    u64 renew, rebind, expiry; // when, of the lease
    unsigned hasty;            // so many questions more at short intervals
};

// --- Sending ---

static u64 jitter(u64 time) { // +- an eighth, so that many guests do not ask in step
    u32 random;

    random_bytes(&random, sizeof(random));
    return time - time / 8 + random % (time / 4 + 1);
}

static void broadcast(struct dhcp *d, struct packet *packet, ipv4_address source) {
    struct ipv4_header *header = packet_push(packet, sizeof(*header));

    *header = (struct ipv4_header){
        .version_and_length = 0x45,
        .total_length = swap16((u16)packet->length),
        .time_to_live = 64,
        .protocol = IP_UDP,
        .source = source,
        .destination = UINT32_MAX,
    };
    ipv4_header_seal(header);
    packet->interface = d->interface;
    ethernet_send(packet, ethernet_broadcast, ETHERNET_IPV4);
}

static void say(struct dhcp *d, enum dhcp_type type) {
    bool bound = d->state >= BOUND, to_server = d->state == RENEWING;
    struct utsname host = {0};

    sys_uname(&host);
    const struct dhcp_question question = {
        .type = type,
        .transaction = d->transaction,
        .seconds = (u16)MIN((network_now() - d->began) / SECOND, (u64)UINT16_MAX),
        .mac = d->interface->mac,
        .client = bound ? d->interface->address : 0,
        .requested = d->state == REQUESTING ? d->offered : 0,
        .server = d->state == REQUESTING ? d->server : 0,
        .host = host.nodename,
        .from = bound ? d->interface->address : 0,
        .to = to_server ? d->server : UINT32_MAX,
    };
    struct packet *packet = dhcp_write(&question);
    if (!packet)
        return; // the timer tries again
    debug("%s: %s DHCP%s\n", d->interface->name, to_server ? "unicasting" : "broadcasting",
          type == DHCP_DISCOVER ? "DISCOVER" : "REQUEST");
    if (to_server)
        ipv4_send(packet, question.from, d->server, IP_UDP, NULL);
    else
        broadcast(d, packet, question.from);
}

// --- States ---

static void enter(struct dhcp *d, enum state state) {
    d->state = state;
    d->tries = 0;
    d->began = network_now();
    random_bytes(&d->transaction, sizeof(d->transaction));
}

static void lose_address(struct dhcp *d) {
    d->interface->gateway = 0;
    interface_set_address(d->interface, 0, 0);
}

// Asks, and sets the timer for the next try: twice as far away as the last one.
static void ask(struct dhcp *d, enum dhcp_type type) {
    u64 pause = MIN(FIRST_TRY << MIN(d->tries, 10U), LONGEST_TRY);

    d->tries++;
    say(d, type);
    network_timer_set(&d->timer, network_now() + jitter(pause));
}

static void look_for_server(struct dhcp *d) {
    if (d->state != SELECTING)
        enter(d, SELECTING);
    ask(d, DHCP_DISCOVER);
}

// Half of the time that is left, but not too often.
static void ask_to_keep(struct dhcp *d, u64 until) {
    u64 now = network_now(), pause = MAX((until - now) / 2, RETRY_LEAST);

    if (d->hasty)
        pause = jitter(FIRST_TRY << (HASTY_TRIES - d->hasty--));
    say(d, DHCP_REQUEST);
    network_timer_set(&d->timer, MIN(now + pause, until));
}

static void timer_fired(struct network_timer *timer) {
    struct dhcp *d = CONTAINER_OF(timer, struct dhcp, timer);
    u64 now = network_now();

    if (d->state == REQUESTING && d->tries < REQUESTS_MOST) {
        ask(d, DHCP_REQUEST);
    } else if (d->state <= REQUESTING) {
        look_for_server(d);
    } else if (now >= d->expiry) {
        debug("%s: the lease has expired\n", d->interface->name);
        lose_address(d);
        look_for_server(d);
    } else if (now >= d->rebind) {
        if (d->state != REBINDING)
            enter(d, REBINDING);
        ask_to_keep(d, d->expiry);
    } else {
        if (d->state != RENEWING)
            enter(d, RENEWING);
        ask_to_keep(d, d->rebind);
    }
}

// --- Answers ---

static bool is_host(ipv4_address a) {
    return a && a != UINT32_MAX && !ipv4_is_multicast(a) && !ipv4_is_loopback(a);
}

static ipv4_address mask_of(const struct dhcp_answer *a) {
    u32 mask = swap32(a->netmask), first = swap32(a->address) >> 24;

    if (mask && !(~mask & (~mask + 1))) // ones, then zeros
        return a->netmask;
    return swap32(first < 128 ? 0xff000000 : first < 192 ? 0xffff0000 : 0xffffff00);
}

static void take_times(struct dhcp *d, const struct dhcp_answer *a) {
    u64 lease = MAX(a->lease, LEASE_LEAST), asked = d->began;
    u64 renew = a->renew && a->renew < lease ? a->renew : lease / 2;
    u64 rebind =
        a->rebind > renew && a->rebind < lease ? a->rebind : renew + (lease - renew) * 3 / 4;

    d->renew = d->rebind = d->expiry = NEVER;
    if (a->lease != FOREVER) {
        d->renew = asked + renew * SECOND;
        d->rebind = asked + rebind * SECOND;
        d->expiry = asked + lease * SECOND;
    }
}

static void take_names(const struct dhcp_answer *a) {
    struct resolver resolver = {.by_dhcp = true, .count = a->nameserver_count};

    memcpy(resolver.servers, a->nameservers, sizeof(resolver.servers));
    memcpy(resolver.domain, a->domain, sizeof(resolver.domain));
    network_resolver_set(&resolver);
}

static void take_lease(struct dhcp *d, const struct dhcp_answer *a) {
    struct interface *interface = d->interface;

    take_times(d, a);
    d->state = BOUND;
    d->hasty = 0;
    network_timer_set(&d->timer, d->renew);
    interface->gateway = is_host(a->gateway) ? a->gateway : 0;
    if (a->mtu >= 576 && a->mtu < interface->mtu)
        interface->mtu = a->mtu;
    interface_set_address(interface, a->address, mask_of(a));
    take_names(a);
    network_configured();
}

static void take_answer(struct dhcp *d, const struct dhcp_answer *a) {
    if (a->type == DHCP_OFFER && d->state == SELECTING && is_host(a->address) && a->server) {
        d->state = REQUESTING; // the transaction goes on
        d->tries = 0;
        d->server = a->server;
        d->offered = a->address;
        ask(d, DHCP_REQUEST);
    } else if (a->type == DHCP_ACK && d->state != SELECTING && d->state != BOUND &&
               is_host(a->address)) {
        d->server = a->server ? a->server : d->server;
        take_lease(d, a);
    } else if (a->type == DHCP_NAK && d->state != SELECTING && d->state != BOUND) {
        lose_address(d);
        enter(d, SELECTING);
        network_timer_set(&d->timer, network_now() + jitter(FIRST_TRY));
    }
}

// The payload of a UDP packet between the right ports, or NULL.
static const u8 *payload(struct packet *packet, size_t *size) {
    const u16 *udp = (const void *)packet->data; // ports, length, checksum
    size_t length = packet->length >= 8 ? swap16(udp[2]) : 0;

    if (length < 8 || length > packet->length || udp[0] != swap16(DHCP_SERVER_PORT))
        return NULL;
    u64 sum = checksum_pseudo_header(packet->source, packet->destination, IP_UDP, length);
    if (udp[3] && !packet->checksum_good &&
        checksum_finish(checksum_add(sum, packet->data, length)))
        return NULL;
    *size = length - 8;
    return packet->data + 8;
}

bool dhcp_receive(struct packet *packet) {
    struct dhcp *d = packet->interface->dhcp;
    const u16 *ports = (const void *)packet->data;

    if (!d || packet->length < 8 || ports[1] != swap16(DHCP_CLIENT_PORT))
        return false;
    struct dhcp_answer answer;
    size_t size;
    const u8 *message = payload(packet, &size);
    if (message && dhcp_read(message, size, d->transaction, d->interface->mac, &answer))
        take_answer(d, &answer);
    packet_free(packet);
    return true;
}

// --- From outside ---

int dhcp_start(struct interface *interface) {
    struct dhcp *d = interface->dhcp;

    if (d && d->state >= BOUND) {
        enter(d, RENEWING);
        ask_to_keep(d, MAX(d->rebind, network_now()));
        return 0;
    }
    if (!d)
        d = kzalloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    if (!interface->dhcp)
        network_timer_init(&d->timer, timer_fired);
    interface->dhcp = d;
    d->interface = interface;
    enter(d, SELECTING);
    look_for_server(d);
    return 0;
}

// As if T2 had come: the network may be another one, whose servers say no to the old address.
void dhcp_link_up(struct interface *interface) {
    struct dhcp *d = interface->dhcp;

    if (!d)
        return;
    if (d->state < BOUND) {
        enter(d, SELECTING);
        look_for_server(d);
        return;
    }
    d->renew = d->rebind = network_now();
    d->hasty = HASTY_TRIES;
    enter(d, REBINDING);
    ask_to_keep(d, d->expiry);
}

static void renew(struct interface *interface, void *unused) {
    (void)unused;
    if (interface->dhcp)
        dhcp_start(interface);
}

void dhcp_renew_all(void) {
    network_lock();
    interfaces_each(renew, NULL);
    network_unlock();
}

void dhcp_stop(struct interface *interface) {
    struct dhcp *d = interface->dhcp;

    if (!d)
        return;
    network_timer_cancel(&d->timer);
    interface->dhcp = NULL;
    kfree(d);
}

bool dhcp_is_asking(const struct interface *interface) {
    return interface->dhcp && interface->dhcp->state < BOUND;
}
