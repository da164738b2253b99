// ARP: which hardware address has an IPv4 address (RFC 826; RFC 1122 section 2.3.2; announcements:
// RFC 5227 section 3).
//
// Invariant: the table has at most NEIGHBOURS entries, made only when we ask or when a neighbour
// asks for us; nobody else's word changes it. An entry being asked for keeps at most QUEUE_MOST
// packets and is asked for once a second, TRIES times. A known entry is trusted for a minute and
// then, when it is used, asked about again while it goes on being used.

#include "layers.h"
#include "memory.h"
#include "network.h"
#include "print.h"

#define NEIGHBOURS 256
#define BUCKETS 64
#define QUEUE_MOST 8
#define TRIES 3
#define ASK_AGAIN SECOND
#define TRUSTED (60 * SECOND)
#define DEFENCE_INTERVAL (10 * SECOND) // RFC 5227

enum { REQUEST = 1, REPLY = 2 };

struct arp_message {
    u16 hardware, protocol;
    u8 hardware_size, protocol_size;
    u16 operation;
    u8 sender_mac[6];
    ipv4_address sender;
    u8 target_mac[6];
    ipv4_address target;
} __attribute__((packed));

enum state { ASKING, KNOWN, CHECKING }; // nothing known yet; in use; in use and asked about

struct neighbour {
    struct list link;
    struct interface *interface;
    ipv4_address address;
    u8 mac[6];
    enum state state;
    unsigned tries, queued;
    u64 due;  // KNOWN: trusted until; else: when to ask again
    u64 used; // for choosing whom to forget
    struct list queue;
};

static struct list *table; // BUCKETS lists; NULL until the first neighbour
static unsigned count;
static struct neighbour *recent;                // the last one found
static struct list forgotten = LIST(forgotten); // off the table, with packets to be reported
static struct network_timer timer;

static struct list *bucket_of(ipv4_address address) {
    return &table[swap32(address) % BUCKETS];
}

static struct neighbour *find(const struct interface *interface, ipv4_address address) {
    if (recent && recent->address == address && recent->interface == interface)
        return recent;
    if (!table)
        return NULL;
    LIST_EACH(bucket_of(address), n, struct neighbour, link) {
        if (n->address == address && n->interface == interface)
            return recent = n;
    }
    return NULL;
}

static void forget(struct neighbour *n) {
    if (recent == n)
        recent = NULL;
    list_remove(&n->link);
    list_append(&forgotten, &n->link);
    count--;
}

// Tells the senders of what still waited. They may send again, so nobody is on the table's lists
// meanwhile.
static void bury(void) {
    for (struct neighbour *n; (n = LIST_FIRST(&forgotten, struct neighbour, link)) != NULL;) {
        list_remove(&n->link);
        for (struct packet *p; (p = LIST_FIRST(&n->queue, struct packet, link)) != NULL;) {
            list_remove(&p->link);
            ipv4_report((const struct ipv4_header *)p->data, EHOSTUNREACH, 0);
            packet_free(p);
        }
        kfree(n);
    }
}

static void each(void (*visit)(struct neighbour *)) {
    for (unsigned i = 0; table && i < BUCKETS; i++)
        LIST_EACH_SAFE(&table[i], n, struct neighbour, link)
    visit(n);
}

static struct neighbour *longest_unused;
static void find_longest_unused(struct neighbour *n) {
    if (!longest_unused || n->used < longest_unused->used)
        longest_unused = n;
}

static struct neighbour *create(struct interface *interface, ipv4_address address) {
    if (!table) {
        table = kzalloc(BUCKETS * sizeof(*table));
        for (unsigned i = 0; table && i < BUCKETS; i++)
            list_init(&table[i]);
    }
    if (count == NEIGHBOURS) {
        longest_unused = NULL;
        each(find_longest_unused);
        forget(longest_unused);
        bury();
    }
    struct neighbour *n = table ? kzalloc(sizeof(*n)) : NULL;
    if (!n)
        return NULL;
    *n = (struct neighbour){.interface = interface, .address = address, .used = network_now()};
    list_init(&n->queue);
    list_append(bucket_of(address), &n->link);
    count++;
    return n;
}

// --- Messages ---

static void say(struct interface *interface, u16 operation, const u8 *to, const u8 *target_mac,
                ipv4_address target) {
    struct packet *packet = packet_allocate(sizeof(struct arp_message));

    if (!packet)
        return;
    struct arp_message *m = packet_put(packet, sizeof(*m));
    *m = (struct arp_message){
        .hardware = swap16(1),
        .protocol = swap16(ETHERNET_IPV4),
        .hardware_size = 6,
        .protocol_size = 4,
        .operation = swap16(operation),
        .sender = interface->address,
        .target = target,
    };
    ethernet_copy(m->sender_mac, interface->mac);
    ethernet_copy(m->target_mac, target_mac);
    packet->interface = interface;
    ethernet_send(packet, to, ETHERNET_ARP);
}

static void ask(struct neighbour *n) {
    static const u8 unknown[6];
    bool unicast = n->state == CHECKING && n->tries < TRIES;

    n->tries++;
    n->due = network_now() + ASK_AGAIN;
    say(n->interface, REQUEST, unicast ? n->mac : ethernet_broadcast, unknown, n->address);
}

void arp_announce(struct interface *interface) {
    static const u8 unknown[6];

    say(interface, REQUEST, ethernet_broadcast, unknown, interface->address);
}

// --- Time ---

static void visit_when_due(struct neighbour *n) {
    if (n->state == KNOWN || n->due > network_now())
        return;
    if (n->tries < TRIES)
        ask(n);
    else
        forget(n);
}

static bool any_asked;
static void note_asked(struct neighbour *n) {
    any_asked |= n->state != KNOWN;
}

static void tick(struct network_timer *unused) {
    (void)unused;
    each(visit_when_due);
    bury();
    any_asked = false;
    each(note_asked);
    if (any_asked)
        network_timer_set(&timer, network_now() + ASK_AGAIN / 4);
}

static int begin_asking(struct neighbour *n, enum state state) {
    n->state = state;
    n->tries = 0;
    if (!timer.function)
        network_timer_init(&timer, tick);
    ask(n);
    return timer.slot ? 0 : network_timer_set(&timer, n->due);
}

// --- Sending ---

static int enqueue(struct neighbour *n, struct packet *packet) {
    if (n->queued == QUEUE_MOST) { // the latest are kept (RFC 1122 section 2.3.2.2)
        struct packet *oldest = LIST_FIRST(&n->queue, struct packet, link);
        list_remove(&oldest->link);
        packet_free(oldest);
        n->queued--;
        n->interface->sent.dropped++;
    }
    list_append(&n->queue, &packet->link);
    n->queued++;
    return 0;
}

int arp_send(struct packet *packet, ipv4_address next_hop) {
    struct interface *interface = packet->interface;
    struct neighbour *n = find(interface, next_hop);

    if (!n) {
        n = create(interface, next_hop);
        if (!n || begin_asking(n, ASKING) < 0) {
            if (n)
                forget(n);
            packet_free(packet);
            return -ENOBUFS;
        }
    }
    if (n->state == ASKING)
        return enqueue(n, packet);
    n->used = network_now();
    if (n->state == KNOWN && n->due <= n->used)
        begin_asking(n, CHECKING);
    return ethernet_send(packet, n->mac, ETHERNET_IPV4);
}

// --- Receiving ---

static void learn(struct neighbour *n, const u8 *mac) {
    ethernet_copy(n->mac, mac);
    n->state = KNOWN;
    n->due = network_now() + TRUSTED;
    n->queued = 0;
    while (!list_empty(&n->queue)) {
        struct packet *packet = LIST_FIRST(&n->queue, struct packet, link);
        list_remove(&packet->link);
        ethernet_send(packet, n->mac, ETHERNET_IPV4);
    }
}

// Somebody else uses our address: say once in a while that it is ours, and go on.
static void defend(struct interface *interface, const u8 *mac) {
    static u64 next_defence;

    if (network_now() < next_defence)
        return;
    next_defence = network_now() + DEFENCE_INTERVAL;
    kprintf("%s: %02x:%02x:%02x:%02x:%02x:%02x uses our address too\n", interface->name, mac[0],
            mac[1], mac[2], mac[3], mac[4], mac[5]);
    arp_announce(interface);
}

static bool well_formed(const struct arp_message *m) {
    return m->hardware == swap16(1) && m->protocol == swap16(ETHERNET_IPV4) &&
           m->hardware_size == 6 && m->protocol_size == 4 && !ethernet_is_group(m->sender_mac);
}

// May this be a neighbour's address? (0 is that of a host which still looks for one.)
static bool is_neighbour(const struct interface *interface, ipv4_address address) {
    return address && !((address ^ interface->address) & interface->netmask) &&
           !ipv4_is_broadcast(interface, address) && !ipv4_is_multicast(address);
}

static void handle(struct interface *interface, const struct arp_message *m) {
    bool for_us = m->target == interface->address;

    if (m->sender == interface->address) {
        if (!ethernet_equal(m->sender_mac, interface->mac))
            defend(interface, m->sender_mac);
        return;
    }
    if (is_neighbour(interface, m->sender)) {
        struct neighbour *n = find(interface, m->sender);
        if (!n && for_us && m->operation == swap16(REQUEST))
            n = create(interface, m->sender);
        if (n)
            learn(n, m->sender_mac);
    }
    if (for_us && m->operation == swap16(REQUEST))
        say(interface, REPLY, m->sender_mac, m->sender_mac, m->sender);
}

void arp_receive(struct packet *packet) {
    const struct arp_message *m = packet_pull(packet, sizeof(*m));

    if (m && packet->interface->address && well_formed(m))
        handle(packet->interface, m);
    packet_free(packet);
}

// --- The table as a whole ---

void arp_forget(const struct interface *interface) {
    for (unsigned i = 0; table && i < BUCKETS; i++)
        LIST_EACH_SAFE(&table[i], n, struct neighbour, link)
    if (n->interface == interface)
        forget(n);
    bury();
}

void arp_each(void (*visit)(const struct arp_view *, void *), void *argument) {
    for (unsigned i = 0; table && i < BUCKETS; i++)
        LIST_EACH(&table[i], n, struct neighbour, link) {
            struct arp_view view = {
                .address = n->address, .complete = n->state != ASKING, .interface = n->interface};
            ethernet_copy(view.mac, n->mac);
            visit(&view, argument);
        }
}
