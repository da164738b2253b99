// Sets of ranges of sequence numbers: what has arrived early, what the peer says it has (RFC 2018).
//
// Invariant: sorted, none empty, and no two touch. There are at most TCP_RANGES of them, in one
// small object that exists only while there is something to remember: what does not fit is
// forgotten, which costs a retransmission and nothing else.

#include "tcp.h"

static void erase(struct tcp_ranges *r, u32 first, u32 end) {
    memmove(&r->at[first], &r->at[end], (r->count - end) * sizeof(r->at[0]));
    r->count -= end - first;
}

static u32 size_of(const struct tcp_range *range) {
    return range->end - range->start;
}

bool tcp_ranges_add(struct tcp_ranges **ranges, u32 start, u32 end) {
    struct tcp_ranges *r = *ranges;
    u32 first = 0, last;

    if (!r)
        r = *ranges = kzalloc(sizeof(*r));
    if (!r)
        return false;
    while (first < r->count && tcp_before(r->at[first].end, start))
        first++;
    for (last = first; last < r->count && !tcp_before(end, r->at[last].start); last++) {
        start = tcp_earlier(start, r->at[last].start);
        end = tcp_later(end, r->at[last].end);
        r->bytes -= size_of(&r->at[last]);
    }
    if (first == last) {
        if (r->count == TCP_RANGES)
            return false;
        memmove(&r->at[first + 1], &r->at[first], (r->count - first) * sizeof(r->at[0]));
        r->count++;
    } else {
        erase(r, first + 1, last);
    }
    r->at[first] = (struct tcp_range){start, end};
    r->bytes += end - start;
    return true;
}

void tcp_ranges_clear(struct tcp_ranges **ranges) {
    kfree(*ranges);
    *ranges = NULL;
}

void tcp_ranges_cut(struct tcp_ranges **ranges, u32 below) {
    struct tcp_ranges *r = *ranges;
    u32 gone = 0;

    if (!r)
        return;
    while (gone < r->count && !tcp_before(below, r->at[gone].end))
        r->bytes -= size_of(&r->at[gone++]);
    if (gone > 0)
        erase(r, 0, gone);
    if (r->count == 0) {
        tcp_ranges_clear(ranges);
    } else if (tcp_before(r->at[0].start, below)) {
        r->bytes -= below - r->at[0].start;
        r->at[0].start = below;
    }
}

u32 tcp_ranges_within(const struct tcp_ranges *r, u32 start, u32 end) {
    u32 bytes = 0;

    for (u32 i = 0; r && i < r->count; i++) {
        u32 from = tcp_later(start, r->at[i].start), to = tcp_earlier(end, r->at[i].end);
        if (tcp_before(from, to))
            bytes += to - from;
    }
    return bytes;
}

bool tcp_ranges_hole(const struct tcp_ranges *r, u32 from, u32 below, struct tcp_range *out) {
    u32 i = 0;

    for (; r && i < r->count && !tcp_before(from, r->at[i].start); i++)
        from = tcp_later(from, r->at[i].end);
    if (r && i < r->count)
        below = tcp_earlier(below, r->at[i].start);
    *out = (struct tcp_range){from, below};
    return tcp_before(from, below);
}

const struct tcp_range *tcp_ranges_find(const struct tcp_ranges *r, u32 at) {
    for (u32 i = 0; r && i < r->count; i++)
        if (!tcp_before(at, r->at[i].start) && tcp_before(at, r->at[i].end))
            return &r->at[i];
    return NULL;
}
