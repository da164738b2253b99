// Transport protocols that only note what they get: see network_seen.h.

#include "network_seen.h"

#include <string.h>

struct seen seen;
static u8 frame[70000];

static void note(struct packet *packet, u8 protocol) {
    seen.packets++;
    seen.source = packet->source;
    seen.destination = packet->destination;
    seen.length = packet->length;
    seen.broadcast = packet->broadcast;
    seen.protocol = protocol;
    memcpy(seen.data, packet->data, packet->length);
    CHECK(packet->ip->source == packet->source, true);
    packet_free(packet);
}
void tcp_receive(struct packet *packet) {
    note(packet, IP_TCP);
}
void udp_receive(struct packet *packet) {
    note(packet, IP_UDP);
}
static void note_error(const struct ipv4_header *sent, int error, u32 mtu) {
    seen.errors++;
    seen.error = error;
    seen.error_mtu = mtu;
    seen.destination = sent->destination;
}
void tcp_error(const struct ipv4_header *sent, const u8 *transport, int error, u32 mtu) {
    (void)transport;
    note_error(sent, error, mtu);
}
void udp_error(const struct ipv4_header *sent, const u8 *transport, int error) {
    (void)transport;
    note_error(sent, error, 0);
}
void tcp_address_gone(ipv4_address address) {
    seen.source = address;
}

void expect_packets(unsigned count) {
    CHECK(seen.packets, count);
    seen.packets = 0;
}

unsigned count_sent(void) {
    unsigned count = 0;
    for (struct shim_frame *f; (f = shim_next_sent()) != NULL; count++)
        free(f);
    return count;
}

const struct ipv4_header *ip_of(const struct shim_frame *f) {
    return (const void *)(f->bytes + 14);
}
int send_to(const char *destination, size_t size, const struct ipv4_options *options) {
    struct packet *packet = packet_allocate(size);
    u8 *data = packet_put(packet, size);
    for (size_t i = 0; i < size; i++)
        data[i] = (u8)(i * 7);
    return ipv4_send(packet, 0, shim_address(destination), IP_UDP, options);
}

void peer_answers(const char *address) {
    size_t size = shim_arp(frame, 2, shim_peer_mac, address, US);
    shim_arrive(frame, size);
}

void arrive(const char *from, const char *to, u8 protocol, u16 fragment, const void *payload,
            size_t size) {
    shim_arrive(frame, shim_ipv4(frame, from, to, protocol, fragment, payload, size));
}
