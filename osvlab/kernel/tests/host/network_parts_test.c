// The network's parts that stand alone: checksums, timers, the packet pool.

#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "network_shim.h"

// --- Checksums, against the definition ---

static u16 by_the_book(const u8 *data, size_t size) {
    u32 sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += i % 2 ? data[i] : data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return swap16((u16)~sum);
}

static void test_checksums(void) {
    static u8 data[4096], copy[4096];

    for (int round = 0; round < 20000; round++) {
        size_t size = shim_pick(round % 2 ? 64 : 2048), offset = shim_pick(16);
        bool extreme = round % 5 == 0;
        for (size_t i = 0; i < size; i++)
            data[offset + i] = extreme ? 0xff : (u8)shim_pick(256);
        u16 expected = by_the_book(data + offset, size);
        CHECK(checksum_finish(checksum_add(0, data + offset, size)), expected);
        CHECK(checksum_finish(checksum_copy(0, copy, data + offset, size)), expected);
        CHECK(memcmp(copy, data + offset, size), 0);

        size_t cut = size ? shim_pick((unsigned)size) : 0; // in two pieces, also at odd places
        u64 first = checksum_add(0, data + offset, cut);
        u64 second = checksum_add(0, data + offset + cut, size - cut);
        CHECK(checksum_finish(first + (cut % 2 ? checksum_swap(second) : second)), expected);
    }
    const u8 pseudo[] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0x12, 0x34};
    u64 sum = checksum_pseudo_header(shim_address("10.0.0.1"), shim_address("10.0.0.2"), 6, 0x1234);
    CHECK(checksum_finish(sum), by_the_book(pseudo, sizeof(pseudo)));
}

// --- Timers, against a table ---

#define TIMERS 300
static struct {
    struct network_timer timer;
    u64 expected;
} timers[TIMERS];
static unsigned fired;
static u64 last_fired;

static void fire(struct network_timer *timer) {
    size_t i = (size_t)((char *)timer - (char *)timers) / sizeof(timers[0]);

    CHECK(timers[i].expected <= shim_time && timers[i].expected != NEVER, true);
    CHECK(timer->deadline == NEVER, true);
    timers[i].expected = NEVER;
    fired++;
    if (shim_pick(4) == 0) { // set again from within
        timers[i].expected = shim_time + 1 + shim_pick(1000);
        CHECK(network_timer_set(timer, timers[i].expected), 0);
    }
}

static void test_timers(void) {
    for (size_t i = 0; i < TIMERS; i++) {
        network_timer_init(&timers[i].timer, fire);
        timers[i].expected = NEVER;
    }
    for (int round = 0; round < 200000; round++) {
        size_t i = shim_pick(TIMERS);
        unsigned what = shim_pick(10);
        if (what < 6) {
            timers[i].expected = shim_time + shim_pick(2000);
            CHECK(network_timer_set(&timers[i].timer, timers[i].expected), 0);
        } else if (what < 8) {
            network_timer_cancel(&timers[i].timer);
            timers[i].expected = NEVER;
        } else if (what < 9) {
            CHECK(network_timer_set(&timers[i].timer, NEVER), 0); // lazily
            timers[i].expected = NEVER;
        } else {
            shim_time += shim_pick(500);
            u64 next = network_timers_run(shim_time);
            for (size_t k = 0; k < TIMERS; k++) {
                CHECK(timers[k].expected > shim_time, true); // nothing was forgotten
                CHECK(next <= timers[k].expected, true);
            }
        }
    }
    CHECK(fired > 10000, true);
    last_fired = shim_time;
    for (size_t i = 0; i < TIMERS; i++)
        network_timer_cancel(&timers[i].timer);
    CHECK(network_timers_next() == NEVER, true);
}

// --- The pool ---

static size_t pages_used;
void *pages_allocate(size_t count) {
    pages_used += count;
    void *pages = aligned_alloc(PAGE_SIZE, count * PAGE_SIZE);
    memset(pages, 0, count * PAGE_SIZE);
    return pages;
}
void pages_free(void *address, size_t count) {
    pages_used -= count;
    free(address);
}
void memory_statistics(struct memory_statistics *out) {
    *out = (struct memory_statistics){.total = 16 << 20};
}

static void check_shape(struct packet *packet, size_t size) {
    CHECK(packet->length, 0);
    CHECK(packet->data - packet->storage, PACKET_HEADROOM);
    CHECK(packet->checksum_good || packet->checksum_partial || packet->broadcast, false);
    CHECK(packet_put(packet, size) != NULL, true);
    memset(packet->storage, 0x55, packet->capacity); // all of it is ours
}

static void test_pool(void) {
    enum { MOST = 512 };
    static struct packet *held[MOST];
    unsigned count = 0;

    for (int round = 0; round < 100000; round++) {
        bool take = shim_pick(1000) < (round / 5000 % 2 ? 300 : 700);
        if (take && count < MOST) {
            size_t size = shim_pick(20) ? shim_pick(1600) : shim_pick(65536);
            struct packet *packet = packet_allocate(size);
            if (packet) {
                check_shape(packet, size);
                held[count++] = packet;
            }
        } else if (!take && count) {
            unsigned i = shim_pick(count);
            packet_free(held[i]);
            held[i] = held[--count];
        }
        CHECK(packets_in_use(), count);
        CHECK(pages_used * PAGE_SIZE <= (4UL << 20) + 64 * PAGE_SIZE, true);
    }
    while (count)
        packet_free(held[--count]);
    CHECK(pages_used <= 32, true); // what the pool keeps
    CHECK(packets_in_use(), 0);

    while (pages_used <= 40) // beyond that each page is two packets
        held[count++] = packet_allocate(1500);
    held[count++] = packet_allocate(1500);
    CHECK(((u64)held[count - 1] ^ (u64)held[count - 2]), PAGE_SIZE / 2);
    while (count)
        packet_free(held[--count]);
    CHECK(pages_used <= 32, true);

    while (packet_allocate(1500)) // a quarter of the memory, no more
        count++;
    CHECK(count, 16 * 256 / 4 * 2);
}

int main(void) {
    test_checksums();
    test_timers();
    test_pool();
    puts("ok");
    fflush(stdout);
    _Exit(0); // the last packets are meant to be held
}
