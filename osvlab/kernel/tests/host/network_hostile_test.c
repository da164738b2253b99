// Fragments and ICMP, and then anything at all, against a cable whose other end is in our hand.

#include <stdlib.h>
#include <string.h>

#include "network_seen.h"

static u8 frame[70000];

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
    CHECK(send_to(PEER, 8, NULL), 0);
    peer_answers(PEER);
    shim_forget_sent();
    test_puts_fragments_together_in_any_order();
    test_refuses_strange_fragments();
    test_sends_fragments();
    test_answers_echoes();
    test_errors_reach_the_sender();
    test_sends_errors_within_a_rate();
    fuzz(frames);
    seen.packets = 0;
    peer_answers(PEER);
    test_answers_echoes(); // the next honest question is answered
    CHECK(packets_in_use(), 0);
    puts("ok");
}
