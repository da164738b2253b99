// The network's surroundings on a host: see network_shim.h.

#include "network_shim.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdarg.h>
#include <string.h>
#include <sys/utsname.h>

#include "memory.h"
#include "print.h"

u64 shim_time = SECOND, shim_random = 1;
size_t shim_wakes;

// --- Time, chance, the lock ---

static bool locked;

void network_lock(void) {
    CHECK(locked, false);
    locked = true;
}
void network_unlock(void) {
    interfaces_flush();
    locked = false;
}
bool network_is_locked(void) {
    return locked;
}
void network_wake(void) {
    shim_wakes++;
}
u64 network_now(void) {
    return shim_time;
}
u64 clock_monotonic(void) {
    return shim_time;
}
int network_start(void) {
    return 0;
}
unsigned shim_pick(unsigned limit) {
    shim_random = shim_random * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(shim_random >> 33) % limit;
}
void random_bytes(void *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((u8 *)out)[i] = (u8)shim_pick(256);
}

void shim_start(void) {
    CHECK(loopback_start(), 0);
    network_lock();
}

static void poll_until_quiet(void) {
    size_t before;

    do {
        before = shim_wakes;
        interfaces_poll();
        interfaces_flush();
    } while (shim_wakes != before);
}

void shim_advance(u64 until) {
    poll_until_quiet();
    while (network_timers_next() <= until) {
        shim_time = MAX(shim_time, network_timers_next());
        network_timers_run(shim_time);
        poll_until_quiet();
    }
    shim_time = until;
}

// --- Memory and words ---

void *kzalloc(size_t size) {
    return calloc(1, size);
}
void *krealloc(void *object, size_t size) {
    return realloc(object, size);
}
void kfree(void *object) {
    free(object);
}
void panic(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    abort();
}
void kprintf(const char *format, ...) {
    (void)format;
}
void debug(const char *format, ...) {
    (void)format;
}
int format_string(char *out, size_t size, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(out, size, format, list);
    va_end(list);
    return length;
}
long sys_uname(struct utsname *out) {
    strcpy(out->nodename, "guest");
    return 0;
}

struct resolver shim_resolver;
unsigned shim_configured;
void network_resolver_set(const struct resolver *resolver) {
    shim_resolver = *resolver;
}
void network_configured(void) {
    shim_configured++;
}

// --- The cable ---

struct interface shim_card;
struct list shim_sent = LIST(shim_sent);
bool shim_card_full;
const u8 shim_peer_mac[6] = {2, 0, 0, 0, 0, 1};

static int card_transmit(struct interface *interface, struct packet *packet) {
    struct shim_frame *frame = malloc(sizeof(*frame) + packet->length);

    CHECK(packet->interface == interface, true);
    if (shim_card_full) {
        packet_free(packet);
        free(frame);
        return -ENOBUFS;
    }
    frame->size = packet->length;
    memcpy(frame->bytes, packet->data, packet->length);
    list_append(&shim_sent, &frame->link);
    packet_free(packet);
    return 0;
}

void shim_card_start(const char *address, const char *netmask, const char *gateway) {
    shim_card = (struct interface){
        .name = "eth%u",
        .mac = {2, 0, 0, 0, 0, 2},
        .mtu = 1500,
        .flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING,
        .transmit = card_transmit,
    };
    interface_register(&shim_card);
    if (address)
        interface_set_address(&shim_card, shim_address(address), shim_address(netmask));
    shim_card.gateway = gateway ? shim_address(gateway) : 0;
    shim_forget_sent(); // the announcement
}

struct shim_frame *shim_next_sent(void) {
    struct shim_frame *frame = LIST_FIRST(&shim_sent, struct shim_frame, link);

    if (frame)
        list_remove(&frame->link);
    return frame;
}

void shim_forget_sent(void) {
    for (struct shim_frame *frame; (frame = shim_next_sent()) != NULL;)
        free(frame);
}

bool shim_turn_goes_on;

void shim_turn_ends(void) {
    shim_turn_goes_on = false;
    network_timers_run(shim_time);
}

void shim_arrive(const void *bytes, size_t size) {
    struct packet *packet = packet_allocate(size);

    memcpy(packet_put(packet, size), bytes, size);
    interface_receive(&shim_card, packet);
    if (!shim_turn_goes_on)
        shim_turn_ends();
}

// --- Frames ---

ipv4_address shim_address(const char *text) {
    return inet_addr(text);
}

static u8 *put_ethernet(u8 *out, u16 type) {
    memcpy(out, shim_card.mac, 6);
    memcpy(out + 6, shim_peer_mac, 6);
    out[12] = (u8)(type >> 8);
    out[13] = (u8)type;
    return out + 14;
}

size_t shim_ipv4(u8 *out, const char *from, const char *to, u8 protocol, u16 fragment,
                 const void *payload, size_t size) {
    struct ipv4_header *header = (void *)put_ethernet(out, ETHERNET_IPV4);

    *header = (struct ipv4_header){
        .version_and_length = 0x45,
        .total_length = swap16((u16)(IPV4_HEADER + size)),
        .identification = 7,
        .fragment = swap16(fragment),
        .time_to_live = 3,
        .protocol = protocol,
        .source = shim_address(from),
        .destination = shim_address(to),
    };
    ipv4_header_seal(header);
    memcpy(header + 1, payload, size);
    return 14 + IPV4_HEADER + size;
}

size_t shim_arp(u8 *out, u16 operation, const u8 *mac, const char *sender, const char *target) {
    u8 *at = put_ethernet(out, ETHERNET_ARP);
    const u8 fixed[] = {0, 1, 8, 0, 6, 4, 0, (u8)operation};
    ipv4_address addresses[2] = {shim_address(sender), shim_address(target)};

    memcpy(at, fixed, 8);
    memcpy(at + 8, mac, 6);
    memcpy(at + 14, &addresses[0], 4);
    memset(at + 18, 0, 6);
    memcpy(at + 24, &addresses[1], 4);
    return 14 + 28;
}
