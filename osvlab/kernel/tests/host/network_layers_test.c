// ARP, IPv4, fragments and ICMP against a cable whose other end is in our hand.

#include <stdlib.h>
#include <string.h>

#include "network_shim.h"

#define US "10.0.0.2"
#define PEER "10.0.0.1"
#define MASK "255.255.255.0"
#define GATEWAY "10.0.0.9"
#define FAR "8.8.8.8"

// --- What arrives at the transport protocols ---

static struct {
    unsigned packets, errors;
    u32 source, destination, length, error_mtu;
    bool broadcast;
    int error;
    u8 protocol, data[70000];
} seen;

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

static u8 frame[70000];

static void expect_packets(unsigned count) {
    CHECK(seen.packets, count);
    seen.packets = 0;
}

static unsigned count_sent(void) {
    unsigned count = 0;
    for (struct shim_frame *f; (f = shim_next_sent()) != NULL; count++)
        free(f);
    return count;
}

static u16 type_of(const struct shim_frame *f) {
    return (u16)(f->bytes[12] << 8 | f->bytes[13]);
}
static u16 arp_operation(const struct shim_frame *f) {
    return type_of(f) == ETHERNET_ARP ? f->bytes[21] : 0;
}
static const struct ipv4_header *ip_of(const struct shim_frame *f) {
    return (const void *)(f->bytes + 14);
}
// The next frame sent is ARP of that kind, to that hardware address.
static void expect_arp(u16 operation, const u8 *to) {
    struct shim_frame *f = shim_next_sent();
    CHECK(f != NULL, true);
    CHECK(arp_operation(f), operation);
    CHECK(memcmp(f->bytes, to, 6), 0);
    free(f);
}

static int send_to(const char *destination, size_t size, const struct ipv4_options *options) {
    struct packet *packet = packet_allocate(size);
    u8 *data = packet_put(packet, size);
    for (size_t i = 0; i < size; i++)
        data[i] = (u8)(i * 7);
    return ipv4_send(packet, 0, shim_address(destination), IP_UDP, options);
}

static void peer_answers(const char *address) {
    size_t size = shim_arp(frame, 2, shim_peer_mac, address, US);
    shim_arrive(frame, size);
}

// --- ARP ---

static void test_asks_and_keeps_few_packets(void) {
    for (int i = 0; i < 20; i++)
        CHECK(send_to(PEER, 10 + i, NULL), 0);
    expect_arp(1, ethernet_broadcast);
    CHECK(count_sent(), 0);
    CHECK(packets_in_use(), 8); // the latest ones
    peer_answers(PEER);
    struct shim_frame *f = shim_next_sent();
    CHECK(swap16(ip_of(f)->total_length), IPV4_HEADER + 10 + 12);
    CHECK(memcmp(f->bytes, shim_peer_mac, 6), 0);
    free(f);
    CHECK(count_sent(), 7);
    CHECK(packets_in_use(), 0);
}

static void test_no_answer_is_an_error(void) {
    seen.errors = 0;
    CHECK(send_to("10.0.0.77", 30, NULL), 0);
    shim_advance(shim_time + 10 * SECOND);
    CHECK(count_sent(), 3); // questions
    CHECK(seen.errors, 1);
    CHECK(seen.error, EHOSTUNREACH);
    CHECK(seen.destination == shim_address("10.0.0.77"), true);
    CHECK(packets_in_use(), 0);
    CHECK(network_timers_next() == NEVER, true);
}

static void test_checks_old_neighbours_while_using_them(void) {
    shim_advance(shim_time + 61 * SECOND);
    CHECK(send_to(PEER, 10, NULL), 0);
    expect_arp(1, shim_peer_mac);
    CHECK(count_sent(), 1); // the packet did not wait
    peer_answers(PEER);
    shim_advance(shim_time + 10 * SECOND);
    CHECK(count_sent(), 0);
    shim_advance(shim_time + 61 * SECOND);
    CHECK(send_to(PEER, 10, NULL), 0);
    shim_advance(shim_time + 10 * SECOND); // now it is silent: forgotten
    CHECK(count_sent(), 1 + 1 + 2);
    CHECK(send_to(PEER, 10, NULL), 0);
    expect_arp(1, ethernet_broadcast);
    peer_answers(PEER);
    shim_forget_sent();
}

static void count_neighbour(const struct arp_view *view, void *count) {
    CHECK(view->address != 0, true);
    ++*(unsigned *)count;
}
static unsigned neighbours(void) {
    unsigned count = 0;
    arp_each(count_neighbour, &count);
    return count;
}

static void test_learns_only_what_concerns_it(void) {
    static const u8 other[6] = {2, 9, 9, 9, 9, 9};
    unsigned before = neighbours();

    shim_arrive(frame, shim_arp(frame, 2, other, "10.0.0.50", US)); // an answer nobody asked for
    shim_arrive(frame, shim_arp(frame, 1, other, "10.0.0.51", "10.0.0.60")); // for somebody else
    shim_arrive(frame, shim_arp(frame, 1, other, "11.0.0.1", US));           // not a neighbour
    shim_arrive(frame, shim_arp(frame, 1, other, "10.0.0.255", US));
    shim_arrive(frame, shim_arp(frame, 1, other, "0.0.0.0", US)); // looks for a free address
    CHECK(neighbours(), before);
    CHECK(count_sent(), 3); // all who asked us got an answer
    shim_arrive(frame, shim_arp(frame, 1, other, "10.0.0.52", US));
    expect_arp(2, other);
    CHECK(neighbours(), before + 1);
    for (int i = 0; i < 1000; i++) { // a crowd: the table keeps its size
        char address[32];
        snprintf(address, sizeof(address), "10.0.0.%d", 3 + i % 250);
        shim_arrive(frame, shim_arp(frame, 1, other, address, US));
    }
    CHECK(neighbours() <= 256, true);
    shim_forget_sent();
    shim_arrive(frame, shim_arp(frame, 1, shim_card.mac, US, US)); // our own echo
    CHECK(count_sent(), 0);
    shim_arrive(frame, shim_arp(frame, 1, other, US, US)); // somebody took our address
    expect_arp(1, ethernet_broadcast);
    shim_arrive(frame, shim_arp(frame, 1, other, US, US));
    CHECK(count_sent(), 0); // once in a while only
    peer_answers(PEER);
}

static void test_a_new_address_is_announced(void) {
    struct interface *i = &shim_card;

    interface_set_address(i, shim_address("10.0.0.3"), i->netmask);
    CHECK(neighbours(), 0);
    expect_arp(1, ethernet_broadcast);
    CHECK(seen.source == shim_address(US), true); // tcp_address_gone
    interface_set_address(i, shim_address(US), i->netmask);
    shim_forget_sent();
    CHECK(send_to(PEER, 8, NULL), 0);
    peer_answers(PEER);
    shim_forget_sent();
}

// --- IPv4 ---

static void test_routes(void) {
    struct route r;

    CHECK(route_find(shim_address("10.0.0.200"), &r), 0);
    CHECK(r.interface == &shim_card && r.next_hop == shim_address("10.0.0.200"), true);
    CHECK(route_find(shim_address(FAR), &r), 0);
    CHECK(r.next_hop == shim_address(GATEWAY) && r.source == shim_address(US), true);
    CHECK(route_find(shim_address("127.0.0.9"), &r), 0);
    CHECK(r.source == shim_address("127.0.0.1"), true);
    CHECK(route_find(shim_address(US), &r), 0);
    CHECK(r.interface == interface_find("lo") && r.source == shim_address(US), true);
    CHECK(route_find(UINT32_MAX, &r), 0);
    CHECK(r.interface == &shim_card, true);
    CHECK(route_find(0, &r), -ENETUNREACH);
    shim_card.gateway = 0;
    CHECK(route_find(shim_address(FAR), &r), -ENETUNREACH);
    shim_card.gateway = shim_address(GATEWAY);
    CHECK(interface_find("eth0") == &shim_card && !interface_find("eth1"), true);
    CHECK(interface_of_index(shim_card.index) == &shim_card, true);
}

static void test_loopback(void) {
    CHECK(send_to("127.0.0.1", 40000, NULL), 0);
    expect_packets(0); // not from within the call
    shim_advance(shim_time);
    expect_packets(1);
    CHECK(seen.length, 40000);
    CHECK(send_to(US, 10, NULL), 0);
    shim_advance(shim_time);
    expect_packets(1);
    CHECK(count_sent(), 0);
    struct packet *packet = packet_allocate(8);
    CHECK(ipv4_send(packet, shim_address("127.0.0.1"), shim_address(FAR), IP_UDP, NULL), -EINVAL);
}

static void test_broadcast_needs_a_wish(void) {
    const struct ipv4_options wish = {.broadcast_allowed = true};

    CHECK(send_to("255.255.255.255", 10, NULL), -EACCES);
    CHECK(send_to("10.0.0.255", 10, NULL), -EACCES);
    CHECK(send_to("255.255.255.255", 10, &wish), 0);
    CHECK(send_to("10.0.0.255", 10, &wish), 0);
    CHECK(send_to("239.1.2.3", 10, NULL), 0);
    for (int i = 0; i < 3; i++) {
        static const u8 group[6] = {1, 0, 0x5e, 1, 2, 3};
        struct shim_frame *f = shim_next_sent();
        CHECK(memcmp(f->bytes, i < 2 ? ethernet_broadcast : group, 6), 0);
        free(f);
    }
    CHECK(count_sent(), 0);
}

static void arrive(const char *from, const char *to, u8 protocol, u16 fragment, const void *payload,
                   size_t size) {
    shim_arrive(frame, shim_ipv4(frame, from, to, protocol, fragment, payload, size));
}

static void test_takes_only_what_is_for_it(void) {
    static const struct {
        const char *from, *to;
        unsigned taken;
    } cases[] = {
        {PEER, US, 1},
        {FAR, US, 1},
        {PEER, "255.255.255.255", 1},
        {PEER, "10.0.0.255", 1},
        {PEER, "224.0.0.1", 1},
        {PEER, "10.0.0.3", 0}, // nothing is forwarded
        {PEER, FAR, 0},
        {PEER, "127.0.0.1", 0},
        {PEER, "224.0.0.2", 0},
        {PEER, "0.0.0.0", 0},
        {"127.0.0.1", US, 0}, // nobody comes from there
        {US, US, 0},
        {"0.0.0.0", US, 0},
        {"10.0.0.255", US, 0},
        {"255.255.255.255", US, 0},
        {"224.0.0.1", US, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        arrive(cases[i].from, cases[i].to, IP_UDP, 0, "12345678", 8);
        CHECK(seen.packets, cases[i].taken);
        expect_packets(cases[i].taken);
        CHECK(packets_in_use(), 0);
    }
    size_t size = shim_ipv4(frame, PEER, US, IP_UDP, 0, "12345678", 8);
    memset(frame, 0xff, 6); // a broadcast frame with a packet for one
    shim_arrive(frame, size);
    expect_packets(0);
    size = shim_ipv4(frame, PEER, US, IP_UDP, 0, "12345678", 8);
    shim_arrive(frame, size + 18); // padding is cut off
    expect_packets(1);
    CHECK(seen.length, 8);
}

static void test_refuses_bad_headers(void) {
    static const struct {
        size_t offset; // from the IPv4 header
        u8 value;
        bool seal; // with a good checksum all the same
    } cases[] = {
        {0, 0x46, true},                      // longer header than the packet
        {0, 0x44, true},                      // too short
        {0, 0x65, true},                      // version 6
        {0, 0x4f, true},                      // header beyond the frame
        {2, 0xff, true},                      // total length beyond the frame
        {3, 19, true},                        // total length less than the header
        {10, 0x12, false}, {16, 0x0a, false}, // the destination damaged
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t size = shim_ipv4(frame, PEER, US, IP_UDP, 0, "1234", 4);
        frame[14 + cases[i].offset] ^= cases[i].seal ? 0 : 0x10;
        if (cases[i].seal)
            frame[14 + cases[i].offset] = cases[i].value;
        if (cases[i].seal)
            ipv4_header_seal((void *)(frame + 14));
        shim_arrive(frame, size);
        expect_packets(0);
    }
    for (size_t size = 0; size < 34; size++) { // cut off anywhere
        shim_ipv4(frame, PEER, US, IP_UDP, 0, "1234", 4);
        shim_arrive(frame, size);
        expect_packets(0);
    }
    CHECK(packets_in_use(), 0);
    CHECK(count_sent(), 0);
}

static void test_options_are_skipped(void) {
    struct ipv4_header *header = (void *)(frame + 14);
    size_t size =
        shim_ipv4(frame, PEER, US, IP_UDP, 0, "\x83\x07\x04\x08\x08\x08\x08\0payload", 15);

    header->version_and_length = 0x47; // a source route, and it is not followed
    header->checksum = 0;
    header->checksum = checksum_finish(checksum_add(0, header, 28));
    shim_arrive(frame, size);
    expect_packets(1);
    CHECK(seen.length, 7);
    CHECK(memcmp(seen.data, "payload", 7), 0);
}

// --- Fragments ---

static void fill(u8 *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        data[i] = (u8)(i * 13 + i / 256);
}

static void piece(u16 id, const u8 *data, size_t offset, size_t size, bool more) {
    size_t total = shim_ipv4(frame, PEER, US, IP_UDP,
                             (u16)(offset / 8 | (more ? FRAGMENT_MORE : 0)), data + offset, size);
    struct ipv4_header *header = (void *)(frame + 14);
    header->identification = id;
    ipv4_header_seal(header);
    shim_arrive(frame, total);
}

static void test_puts_fragments_together_in_any_order(void) {
    static u8 data[65504];

    fill(data, sizeof(data));
    for (int round = 0; round < 300; round++) {
        size_t size = 100 + shim_pick(round % 10 ? 9000 : 65504 - 100), step = 1480, count = 0;
        unsigned order[64];
        for (size_t at = 0; at < size; at += step)
            order[count++] = (unsigned)(at / step);
        for (size_t i = count; i > 1; i--) { // shuffled
            size_t k = shim_pick((unsigned)i);
            unsigned swap = order[i - 1];
            order[i - 1] = order[k];
            order[k] = swap;
        }
        for (size_t i = 0; i < count; i++) {
            size_t at = order[i] * step, length = MIN(step, size - at);
            CHECK(seen.packets, 0);
            piece((u16)round, data, at, length, at + length < size);
            if (i + 1 < count && shim_pick(3) == 0)
                piece((u16)round, data, at, length, at + length < size); // repeated by the network
        }
        expect_packets(1);
        CHECK(seen.length, size);
        CHECK(memcmp(seen.data, data, size), 0);
        CHECK(packets_in_use(), 0);
    }
    CHECK(network_timers_next() != NEVER, true);
    shim_advance(shim_time + 31 * SECOND);
    CHECK(network_timers_next() == NEVER, true);
}

static void test_refuses_strange_fragments(void) {
    static u8 data[65536 + 2000];

    piece(1, data, 0, 800, true);
    piece(1, data, 400, 800, true); // overlaps: all is lost
    CHECK(packets_in_use(), 0);
    piece(1, data, 800, 100, false);
    expect_packets(0);
    piece(2, data, 0, 801, true);      // no multiple of 8
    piece(3, data, 65528, 100, false); // beyond any datagram (the ping of death)
    piece(4, data, 0, 0, true);
    CHECK(packets_in_use(), 1); // of datagram 1
    piece(5, data, 800, 100, false);
    piece(5, data, 1600, 100, false); // two ends
    CHECK(packets_in_use(), 1);
    piece(6, data, 800, 100, false);
    piece(6, data, 904, 8, true); // behind the end
    CHECK(packets_in_use(), 1);
    for (u16 id = 100; id < 1000; id++)
        piece(id, data, 0, 8, true);
    CHECK(packets_in_use(), 16); // datagrams; the newest
    for (size_t at = 0; at < 65000; at += 16)
        piece(2000, data, at, 8, true);
    CHECK(packets_in_use() <= 256, true);
    shim_forget_sent();
    shim_advance(shim_time + 31 * SECOND);
    CHECK(packets_in_use(), 0);
    CHECK(count_sent() > 0, true); // "reassembly time exceeded"
    expect_packets(0);
}

static void test_sends_fragments(void) {
    static u8 whole[65535];
    const struct ipv4_options dont = {.dont_fragment = true};
    size_t have = 0, pieces = 0;

    CHECK(send_to(PEER, 65535 - 20, &dont), -EMSGSIZE);
    CHECK(send_to(PEER, 65535 - 19, NULL), -EMSGSIZE);
    CHECK(send_to(PEER, 60001, NULL), 0);
    for (struct shim_frame *f; (f = shim_next_sent()) != NULL; free(f), pieces++) {
        const struct ipv4_header *ip = ip_of(f);
        size_t size = swap16(ip->total_length) - IPV4_HEADER;
        size_t offset = (swap16(ip->fragment) & FRAGMENT_OFFSET) * 8UL;
        CHECK(f->size <= 1514, true);
        CHECK(checksum_finish(checksum_add(0, ip, 20)), 0);
        CHECK(!!(ip->fragment & swap16(FRAGMENT_MORE)), offset + size < 60001);
        memcpy(whole + offset, ip + 1, size);
        have += size;
    }
    CHECK(have, 60001);
    CHECK(pieces, 41);
    for (size_t i = 0; i < 60001; i++)
        CHECK(whole[i], (u8)(i * 7));
    CHECK(packets_in_use(), 0);
    shim_card_full = true;
    CHECK(send_to(PEER, 60001, NULL), -ENOBUFS);
    shim_card_full = false;
    CHECK(packets_in_use(), 0);
}

static void test_partial_checksums(void) {
    for (int able = 0; able < 2; able++) {
        struct packet *packet = packet_allocate(100);
        u8 *data = packet_put(packet, 100);
        fill(data, 100);
        u64 pseudo = checksum_pseudo_header(shim_address(US), shim_address(PEER), IP_UDP, 100);
        *(u16 *)(data + 6) = (u16)~checksum_finish(pseudo);
        packet->checksum_partial = true;
        packet->checksum_offset = 6;
        shim_card.sends_checksums = able;
        CHECK(ipv4_send(packet, 0, shim_address(PEER), IP_UDP, NULL), 0);
        struct shim_frame *f = shim_next_sent();
        u16 sum = checksum_finish(checksum_add(pseudo, f->bytes + 34, 100));
        CHECK(sum == 0, !able); // left to the device that can
        free(f);
    }
    shim_card.sends_checksums = false;
}

// --- ICMP ---

static size_t icmp(u8 *out, u8 type, u8 code, const void *rest, size_t size) {
    memset(out, 0, 4);
    out[0] = type;
    out[1] = code;
    memcpy(out + 4, rest, size);
    u16 sum = checksum_finish(checksum_add(0, out, 4 + size));
    memcpy(out + 2, &sum, 2);
    return 4 + size;
}

static void test_answers_echoes(void) {
    static u8 message[2000], rest[1400];

    fill(rest, sizeof(rest));
    for (size_t size = 4; size < 1400; size += 37) {
        size_t total = icmp(message, 8, 0, rest, size);
        arrive(PEER, US, IP_ICMP, 0, message, total);
        struct shim_frame *f = shim_next_sent();
        const u8 *answer = f->bytes + 34;
        CHECK(swap16(ip_of(f)->total_length), 20 + total);
        CHECK(answer[0], 0);
        CHECK(checksum_finish(checksum_add(0, answer, total)), 0);
        CHECK(memcmp(answer + 4, rest, size), 0);
        free(f);
        CHECK(count_sent(), 0);
    }
    size_t total = icmp(message, 8, 0, rest, 20);
    arrive(PEER, "10.0.0.255", IP_ICMP, 0, message, total); // no amplifier
    message[9] ^= 1;
    arrive(PEER, US, IP_ICMP, 0, message, total); // damaged
    CHECK(count_sent(), 0);
}

static void test_errors_reach_the_sender(void) {
    static const struct {
        u8 type, code;
        int error;
    } cases[] = {
        {3, 0, ENETUNREACH}, {3, 1, EHOSTUNREACH},  {3, 2, ENOPROTOOPT},   {3, 3, ECONNREFUSED},
        {3, 4, EMSGSIZE},    {3, 13, EHOSTUNREACH}, {11, 0, EHOSTUNREACH}, {12, 0, EPROTO},
    };
    static u8 message[200], quoted[200] = {0, 0, 2, 0x58}; // next MTU: 600

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t size = shim_ipv4(frame, US, FAR, i % 2 ? IP_TCP : IP_UDP, 0, "12345678", 8);
        memcpy(quoted + 4, frame + 14, size - 14);
        size_t total = icmp(message, cases[i].type, cases[i].code, quoted, 4 + size - 14);
        seen.errors = 0;
        arrive("9.9.9.9", US, IP_ICMP, 0, message, total);
        CHECK(seen.errors, 1);
        CHECK(seen.error, cases[i].error);
        CHECK(seen.destination == shim_address(FAR), true);
        if (i % 2)
            CHECK(seen.error_mtu, 600);
        for (size_t cut = 8; cut < total; cut += 3) { // less than it must quote
            total = icmp(message, cases[i].type, cases[i].code, quoted, cut - 4);
            seen.errors = 0;
            arrive("9.9.9.9", US, IP_ICMP, 0, message, total);
            CHECK(seen.errors, cut >= 8 + 28);
        }
    }
    size_t size = shim_ipv4(frame, PEER, FAR, IP_UDP, 0, "12345678", 8); // not ours
    memcpy(quoted + 4, frame + 14, size - 14);
    seen.errors = 0;
    arrive(PEER, US, IP_ICMP, 0, message, icmp(message, 3, 3, quoted, 4 + size - 14));
    CHECK(seen.errors, 0);
    CHECK(count_sent(), 0); // no error about an error
}

static void test_sends_errors_within_a_rate(void) {
    unsigned sent = 0;

    shim_advance(shim_time + SECOND);
    peer_answers(PEER);
    shim_forget_sent();
    for (int i = 0; i < 1000; i++) {
        arrive(PEER, US, 99, 0, "12345678", 8); // a protocol we do not have
        sent += count_sent();
    }
    CHECK(sent, 50);
    shim_advance(shim_time + SECOND / 2);
    for (int i = 0; i < 1000; i++)
        arrive(PEER, US, 99, 0, "12345678", 8);
    struct shim_frame *f = shim_next_sent();
    CHECK(f->bytes[34], 3);
    CHECK(f->bytes[35], 2);
    CHECK(f->size, 14 + 20 + 8 + 28);
    CHECK(checksum_finish(checksum_add(0, f->bytes + 34, f->size - 34)), 0);
    free(f);
    CHECK(count_sent(), 49);
    shim_advance(shim_time + SECOND);
    arrive(PEER, "10.0.0.255", 99, 0, "12345678", 8);
    arrive(PEER, US, 99, 5, "12345678", 8);
    arrive(PEER, US, IP_ICMP, 0, "\3\3\0\0\0\0\0\0", 8);
    CHECK(count_sent(), 0);
    shim_advance(shim_time + 31 * SECOND);
    shim_forget_sent();
}

// --- Anything at all ---

static size_t honest(u8 *out) {
    static u8 payload[1500], message[1500];
    static const char *const hosts[] = {US, PEER, "10.0.0.255", FAR};
    size_t size = shim_pick(200);
    const char *from = shim_pick(4) ? PEER : hosts[shim_pick(4)];
    const char *to = shim_pick(4) ? US : hosts[shim_pick(4)];

    random_bytes(payload, 64);
    switch (shim_pick(5)) {
    case 0:
        return shim_arp(out, (u16)(1 + shim_pick(2)), shim_peer_mac, from, to);
    case 1:
        return shim_ipv4(out, from, to, IP_ICMP, 0, message, icmp(message, 8, 0, payload, size));
    case 2: // an error that quotes something
        size = shim_ipv4(out, US, FAR, IP_UDP, 0, payload, 8) - 14;
        memcpy(payload + 4, out + 14, size);
        size = icmp(message, 3, (u8)shim_pick(16), payload, 4 + size);
        return shim_ipv4(out, from, to, IP_ICMP, 0, message, size);
    case 3:
        return shim_ipv4(out, from, to, IP_UDP,
                         (u16)(shim_pick(40) | (shim_pick(2) ? FRAGMENT_MORE : 0)), payload,
                         size & ~7UL);
    default:
        return shim_ipv4(out, from, to, shim_pick(2) ? IP_TCP : IP_UDP, 0, payload, size);
    }
}

static void fuzz(unsigned frames) {
    for (unsigned i = 0; i < frames; i++) {
        size_t size = honest(frame);
        for (unsigned n = shim_pick(5); n > 0; n--)
            frame[shim_pick(3) ? shim_pick(60) : shim_pick((unsigned)size)] ^= (u8)shim_pick(256);
        if (shim_pick(2) && size >= 34 && frame[12] == 8 && !frame[13]) // past the first hurdle
            ipv4_header_seal((void *)(frame + 14));
        shim_arrive(frame, shim_pick(8) ? size : shim_pick((unsigned)size + 1));
        if (shim_pick(16) == 0)
            shim_advance(shim_time + shim_pick(100) * MILLISECOND);
        shim_forget_sent();
        CHECK(packets_in_use() < 256 + 256 * 8, true);
    }
    shim_advance(shim_time + 100 * SECOND);
    shim_forget_sent();
    CHECK(packets_in_use(), 0);
    CHECK(shim_card.address == shim_address(US), true);
}

int main(int argc, char **argv) {
    unsigned frames = argc > 1 ? (unsigned)atoi(argv[1]) : 0;

    shim_random = argc > 2 ? (u64)atoi(argv[2]) : 1;
    shim_start();
    shim_card_start(US, MASK, GATEWAY);
    test_asks_and_keeps_few_packets();
    test_no_answer_is_an_error();
    test_checks_old_neighbours_while_using_them();
    test_learns_only_what_concerns_it();
    test_a_new_address_is_announced();
    test_routes();
    test_loopback();
    test_broadcast_needs_a_wish();
    test_takes_only_what_is_for_it();
    test_refuses_bad_headers();
    test_options_are_skipped();
    test_puts_fragments_together_in_any_order();
    test_refuses_strange_fragments();
    test_sends_fragments();
    test_partial_checksums();
    test_answers_echoes();
    test_errors_reach_the_sender();
    test_sends_errors_within_a_rate();
    fuzz(frames);
    memset(&seen, 0, sizeof(seen));
    peer_answers(PEER);
    test_answers_echoes(); // the next honest question is answered
    CHECK(packets_in_use(), 0);
    puts("ok");
}
