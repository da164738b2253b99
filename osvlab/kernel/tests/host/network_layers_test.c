// ARP and IPv4 against a cable whose other end is in our hand.

#include <stdlib.h>
#include <string.h>

#include "network_seen.h"

static u8 frame[70000];

static u16 type_of(const struct shim_frame *f) {
    return (u16)(f->bytes[12] << 8 | f->bytes[13]);
}
static u16 arp_operation(const struct shim_frame *f) {
    return type_of(f) == ETHERNET_ARP ? f->bytes[21] : 0;
}
// The next frame sent is ARP of that kind, to that hardware address.
static void expect_arp(u16 operation, const u8 *to) {
    struct shim_frame *f = shim_next_sent();
    CHECK(f != NULL, true);
    CHECK(arp_operation(f), operation);
    CHECK(memcmp(f->bytes, to, 6), 0);
    free(f);
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

static void fill(u8 *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        data[i] = (u8)(i * 13 + i / 256);
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

int main(void) {
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
    test_partial_checksums();
    CHECK(packets_in_use(), 0);
    puts("ok");
}
