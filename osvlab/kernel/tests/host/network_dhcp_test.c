// The DHCP client against a server written from the other side of RFC 2131, in virtual time.

#include <stdlib.h>
#include <string.h>

#include "network_seen.h"

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE };
#define OFFERED "10.0.0.42"
#define SERVER "10.0.0.1"

static struct heard { // the client's last message
    u8 type;
    u32 transaction, client, requested, server, to;
    u16 seconds;
    char host[65];
    bool wants_netmask;
} heard;

static const u8 *option(const u8 *options, size_t size, u8 wanted, u8 *length) {
    for (size_t at = 0; at + 1 < size && options[at] != 255; at += 2UL + options[at + 1]) {
        if (options[at] == wanted) {
            *length = options[at + 1];
            return options + at + 2;
        }
    }
    return NULL;
}

static u32 word(const u8 *at) {
    u32 value = 0;
    if (at)
        memcpy(&value, at, 4);
    return value;
}

// Takes the next DHCP message off the cable. False: there is none.
static bool hear(void) {
    for (struct shim_frame *f; (f = shim_next_sent()) != NULL; free(f)) {
        const struct ipv4_header *ip = ip_of(f);
        const u8 *udp = f->bytes + 34, *m = udp + 8, *options = m + 240;
        if (f->bytes[12] != 8 || f->bytes[13] != 0 || ip->protocol != IP_UDP)
            continue;
        size_t size = f->size - 34;
        u64 sum = checksum_pseudo_header(ip->source, ip->destination, IP_UDP, size);
        u8 length = 0;
        CHECK(checksum_finish(checksum_add(sum, udp, size)), 0);
        CHECK(udp[1] == 68 && udp[3] == 67, true);
        CHECK(size >= 308, true); // some servers drop shorter ones
        CHECK(memcmp(m + 28, shim_card.mac, 6), 0);
        heard = (struct heard){
            .transaction = word(m + 4), .client = word(m + 12), .to = ip->destination};
        heard.seconds = (u16)(m[8] << 8 | m[9]);
        heard.type = *option(options, size - 248, 53, &length);
        heard.requested = word(option(options, size - 248, 50, &length));
        heard.server = word(option(options, size - 248, 54, &length));
        heard.wants_netmask = option(options, size - 248, 55, &length) != NULL;
        const u8 *host = option(options, size - 248, 12, &length);
        if (host)
            memcpy(heard.host, host, length);
        free(f);
        return true;
    }
    return false;
}

static u8 reply[700];
static size_t reply_size;

static void begin(u8 type, const char *yours) {
    u32 address = shim_address(yours);

    memset(reply, 0, sizeof(reply));
    reply[0] = 2;
    reply[1] = 1;
    reply[2] = 6;
    memcpy(reply + 4, &heard.transaction, 4);
    memcpy(reply + 16, &address, 4);
    memcpy(reply + 28, shim_card.mac, 6);
    memcpy(reply + 236, "\x63\x82\x53\x63", 4);
    memcpy(reply + 240, (const u8[]){53, 1, type}, 3);
    reply_size = 243;
}

static void add(u8 code, const void *value, size_t size) {
    reply[reply_size++] = code;
    reply[reply_size++] = (u8)size;
    memcpy(reply + reply_size, value, size);
    reply_size += size;
}
static void add_address(u8 code, const char *text) {
    u32 address = shim_address(text);
    add(code, &address, 4);
}
static void add_seconds(u8 code, u32 seconds) {
    seconds = swap32(seconds);
    add(code, &seconds, 4);
}

static void finish(void) {
    static u8 udp[1000], frame[1200];

    reply[reply_size++] = 255;
    size_t size = 8 + reply_size;
    memcpy(udp, (const u8[]){0, 67, 0, 68, (u8)(size >> 8), (u8)size, 0, 0}, 8);
    memcpy(udp + 8, reply, reply_size);
    u64 sum = checksum_pseudo_header(shim_address(SERVER), UINT32_MAX, IP_UDP, size);
    u16 checksum = checksum_finish(checksum_add(sum, udp, size));
    memcpy(udp + 6, &checksum, 2);
    shim_arrive(frame, shim_ipv4(frame, SERVER, "255.255.255.255", IP_UDP, 0, udp, size));
}

static void say(u8 type, u32 lease) {
    begin(type, type == NAK ? "0.0.0.0" : OFFERED);
    add_address(54, SERVER);
    if (type != NAK) {
        add_seconds(51, lease);
        add_address(1, "255.255.255.0");
        add_address(3, GATEWAY);
        add(6, "\x0a\0\0\x03\x0a\0\0\x04\x0a\0\0\x05\x0a\0\0\x06", 16);
        add(15, "example.net", 12); // with a NUL, as some servers do
    }
    finish();
}

static bool has(const char *address) {
    return shim_card.address == (address ? shim_address(address) : 0);
}

static void get_lease(u32 lease) {
    CHECK(dhcp_start(&shim_card), 0);
    CHECK(hear() && heard.type == DISCOVER, true);
    say(OFFER, lease);
    CHECK(hear() && heard.type == REQUEST, true);
    say(ACK, lease);
    CHECK(has(OFFERED), true);
    shim_forget_sent();
}

static void forget_lease(void) {
    dhcp_stop(&shim_card);
    interface_set_address(&shim_card, 0, 0);
    shim_card.gateway = 0;
    shim_forget_sent();
}

static void test_gets_an_address(void) {
    CHECK(dhcp_start(&shim_card), 0);
    CHECK(dhcp_is_asking(&shim_card), true);
    CHECK(hear(), true);
    CHECK(heard.type, DISCOVER);
    CHECK(heard.to, UINT32_MAX);
    CHECK(strcmp(heard.host, "guest"), 0);
    CHECK(heard.wants_netmask, true);
    u32 transaction = heard.transaction;
    say(OFFER, 3600);
    CHECK(has(NULL), true); // an offer is not a lease
    CHECK(hear(), true);
    CHECK(heard.type, REQUEST);
    CHECK(heard.transaction == transaction, true);
    CHECK(heard.requested == shim_address(OFFERED), true);
    CHECK(heard.server == shim_address(SERVER), true);
    CHECK(heard.client, 0);
    unsigned configured = shim_configured;
    say(ACK, 3600);
    CHECK(has(OFFERED), true);
    CHECK(shim_configured, configured + 1);
    CHECK(dhcp_is_asking(&shim_card), false);
    CHECK(shim_card.netmask == shim_address("255.255.255.0"), true);
    CHECK(shim_card.gateway == shim_address(GATEWAY), true);
    CHECK(shim_resolver.count, 3);
    CHECK(shim_resolver.servers[2] == shim_address("10.0.0.5"), true);
    CHECK(strcmp(shim_resolver.domain, "example.net"), 0);
    CHECK(hear(), false);
    CHECK(packets_in_use(), 0);
    forget_lease();
}

static void test_asks_again_and_again(void) {
    unsigned asked = 0;
    u64 start = shim_time;

    CHECK(dhcp_start(&shim_card), 0);
    for (; shim_time < start + 300 * SECOND; shim_advance(shim_time + SECOND / 4))
        for (; hear(); asked++)
            CHECK(heard.type, DISCOVER);
    CHECK(asked >= 9 && asked <= 13, true); // 1, 2, 4 ... 64 s
    CHECK(heard.seconds > 200, true);
    say(OFFER, 3600);
    for (asked = 0; shim_time < start + 330 * SECOND; shim_advance(shim_time + SECOND / 4))
        for (; hear() && heard.type == REQUEST; asked++)
            ;
    CHECK(asked, 4); // the server is gone: from the start again
    CHECK(heard.type, DISCOVER);
    forget_lease();
    CHECK(network_timers_next() == NEVER, true);
}

static void test_renews_rebinds_and_expires(void) {
    get_lease(1000);
    u64 start = shim_time;
    CHECK(send_to(SERVER, 8, NULL), 0); // so that its hardware address is known
    peer_answers(SERVER);
    shim_forget_sent();
    shim_advance(start + 490 * SECOND);
    CHECK(hear(), false);
    shim_advance(start + 501 * SECOND);
    peer_answers(SERVER);
    CHECK(hear(), true);
    CHECK(heard.type, REQUEST);
    CHECK(heard.to == shim_address(SERVER), true);
    CHECK(heard.client == shim_address(OFFERED), true);
    CHECK(heard.requested | heard.server, 0);
    say(ACK, 1000);
    start = shim_time;
    shim_advance(start + 490 * SECOND);
    CHECK(hear(), false);
    shim_advance(start + 870 * SECOND); // nobody answers
    while (hear())
        CHECK(heard.to == shim_address(SERVER), true);
    shim_advance(start + 880 * SECOND);
    CHECK(hear(), true);
    CHECK(heard.to, UINT32_MAX); // anybody may prolong it now
    CHECK(heard.client == shim_address(OFFERED), true);
    CHECK(has(OFFERED), true);
    shim_advance(start + 1001 * SECOND);
    CHECK(has(NULL), true);
    CHECK(shim_card.gateway, 0);
    bool discovers = false;
    while (hear())
        discovers |= heard.type == DISCOVER;
    CHECK(discovers, true);
    forget_lease();
}

static void test_a_nak_means_from_the_start(void) {
    get_lease(1000);
    shim_advance(shim_time + 890 * SECOND);
    while (hear())
        ;
    say(NAK, 0);
    CHECK(has(NULL), true);
    shim_advance(shim_time + 2 * SECOND);
    CHECK(hear() && heard.type == DISCOVER, true);
    forget_lease();
}

static void test_asks_for_the_same_again(void) {
    get_lease(1000);
    CHECK(dhcp_start(&shim_card), 0); // the host name has changed, say
    peer_answers(SERVER);
    CHECK(hear() && heard.type == REQUEST, true);
    CHECK(heard.client == shim_address(OFFERED), true);
    CHECK(has(OFFERED), true);
    say(ACK, 500);
    CHECK(has(OFFERED), true);
    forget_lease();
}

// The cable was out: any server may answer, and it is asked a few times at short intervals.
static void test_asks_anybody_when_the_cable_is_back(void) {
    unsigned asked = 0;

    get_lease(100000);
    dhcp_link_up(&shim_card);
    for (u64 start = shim_time; shim_time < start + 40 * SECOND; shim_advance(shim_time + SECOND))
        for (; hear(); asked++) {
            CHECK(heard.type, REQUEST);
            CHECK(heard.to, UINT32_MAX);
            CHECK(heard.client == shim_address(OFFERED), true);
        }
    CHECK(asked, 5);
    CHECK(has(OFFERED), true); // nobody said no
    say(ACK, 1000);
    u64 bound = shim_time;
    shim_advance(bound + 400 * SECOND);
    CHECK(hear(), false);
    dhcp_link_up(&shim_card); // into another network
    CHECK(hear(), true);
    say(NAK, 0);
    CHECK(has(NULL), true);
    dhcp_link_up(&shim_card); // at once again
    shim_advance(shim_time + SECOND / 2);
    CHECK(hear() && heard.type == DISCOVER, true);
    CHECK(hear(), false);
    forget_lease();
    dhcp_link_up(&shim_card); // nobody looks after it
    CHECK(hear(), false);
}

static void test_ignores_what_is_not_for_it(void) {
    CHECK(dhcp_start(&shim_card), 0);
    CHECK(hear(), true);
    heard.transaction++;
    say(OFFER, 10); // somebody else's
    heard.transaction--;
    say(ACK, 10);          // nothing was requested
    begin(OFFER, OFFERED); // no server
    finish();
    begin(OFFER, "255.255.255.255");
    add_address(54, SERVER);
    finish();
    CHECK(hear(), false);
    CHECK(has(NULL), true);
    say(OFFER, 10);
    CHECK(hear(), true);
    begin(ACK, OFFERED); // the least a server may say
    add(15, "two words", 9);
    finish();
    CHECK(has(OFFERED), true);
    CHECK(shim_card.netmask == shim_address("255.0.0.0"), true);
    CHECK(shim_card.gateway | shim_resolver.count, 0);
    CHECK(shim_resolver.domain[0], 0); // it would be two words in a file
    forget_lease();
}

static void fuzz(unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        forget_lease();
        CHECK(dhcp_start(&shim_card), 0);
        CHECK(hear(), true);
        say(OFFER, 1000);
        if (!hear())
            continue;
        u8 types[] = {OFFER, ACK, NAK, ACK};
        begin(types[shim_pick(4)], OFFERED);
        for (unsigned n = shim_pick(12); n > 0; n--) {
            u8 value[40];
            random_bytes(value, sizeof(value));
            add((u8)(shim_pick(3) ? (u8[]){1, 3, 6, 15, 26, 51, 52, 54, 58, 59}[shim_pick(10)]
                                  : shim_pick(256)),
                value, shim_pick(40));
        }
        for (unsigned n = shim_pick(4); n > 0; n--)
            reply[shim_pick(2) ? 240 + shim_pick((unsigned)reply_size - 240)
                               : shim_pick((unsigned)reply_size)] = (u8)shim_pick(256);
        reply_size = shim_pick(4) ? reply_size : shim_pick((unsigned)reply_size);
        finish();
        shim_advance(shim_time + shim_pick(1000) * SECOND);
        CHECK(shim_card.mtu >= 576, true);
        CHECK(packets_in_use() <= 8, true); // of a renewal that waits for ARP
    }
    forget_lease();
    shim_advance(shim_time + 10 * SECOND);
    shim_card.mtu = 1500;
    CHECK(packets_in_use(), 0);
}

int main(int argc, char **argv) {
    shim_random = argc > 2 ? (u64)atoi(argv[2]) : 1;
    shim_start();
    shim_card_start(NULL, NULL, NULL);
    test_gets_an_address();
    test_asks_again_and_again();
    test_renews_rebinds_and_expires();
    test_a_nak_means_from_the_start();
    test_asks_for_the_same_again();
    test_asks_anybody_when_the_cable_is_back();
    test_ignores_what_is_not_for_it();
    fuzz(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    test_gets_an_address();
    puts("ok");
}
