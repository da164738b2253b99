// What to send, and when: again what was lost, then what is new, as far as the peer's window, the
// congestion window, and good sense allow (RFC 9293, sections 3.7.4, 3.8.6; RFC 1122, 4.2.3.4).
//
// Invariant: whenever something is outstanding, or waits for a window or for more data, the
// retransmission timer is set; so nothing is ever waited for in vain.

#include "tcp.h"

// --- The window we offer ---

static u32 receive_limit(const struct tcp_connection *c) {
    u32 limit = c->rcv.limit;

    if (c->socket && c->socket->receive_buffer)
        limit = MAX(MIN(c->socket->receive_buffer, TCP_RING_MOST), 2U * TCP_MSS_DEFAULT);
    return tcp_rings_are_tight() ? MIN(limit, 1U << 14) : limit;
}

// What the field of a segment can say. To try for more would be an acknowledgement that says nothing
// new: a duplicate, which the peer takes for a loss.
static u32 most_to_offer(const struct tcp_connection *c) {
    return MIN(receive_limit(c), (u32)UINT16_MAX << c->rcv.scale);
}

// The edge never goes back, and moves on by whole segments (silly window, RFC 9293, 3.8.6.2.2).
u32 tcp_window(struct tcp_connection *c) {
    u32 limit = receive_limit(c), used = c->rcv.nxt - c->rcv.read - c->rcv.fin;
    u32 offered = c->rcv.adv - c->rcv.nxt;
    u32 space = MIN(limit - MIN(used, limit), most_to_offer(c));

    return space < offered + MIN(limit / 2, (u32)c->mss) ? offered : space;
}

// Who reads half of the buffer within a round trip could use a larger one.
static void tune_limit(struct tcp_connection *c) {
    u64 now = network_now(), round = MAX(c->rtt.smoothed * TCP_MICROSECONDS, 10 * MILLISECOND);

    if (now - c->rcv.round_at > round) {
        c->rcv.round_at = now;
        c->rcv.round_start = c->rcv.read;
    } else if (c->rcv.read - c->rcv.round_start >= c->rcv.limit / 2 && !tcp_rings_are_tight()) {
        c->rcv.limit = MIN(2 * c->rcv.limit, TCP_RING_MOST);
        c->rcv.round_start = c->rcv.read;
    }
}

// Worth a word of its own: a quarter of all, or twice as much as before when that was little.
void tcp_window_opened(struct tcp_connection *c) {
    u32 offered = c->rcv.adv - c->rcv.nxt;

    tune_limit(c);
    if (c->rcv.fin || c->state == TCP_CLOSE)
        return;
    u32 gain = tcp_window(c) - offered, quarter = most_to_offer(c) / 4;
    if (gain > 0 && gain >= MIN(offered, quarter))
        c->ack_now = true;
}

// --- What comes next ---

static bool next_lost(const struct tcp_connection *c, struct tcp_range *out) {
    if (c->congestion.phase == PHASE_OPEN ||
        !tcp_ranges_hole(c->snd.sacked, c->snd.again, c->snd.lost, out))
        return false;
    out->end = tcp_earlier(out->end, out->start + c->mss);
    return true;
}

// A short segment is worth sending when nothing is gained by waiting (RFC 9293, 3.8.6.2.1). Nagle's
// rule as Minshall put it: not while another short one is on its way.
static bool is_worth_it(const struct tcp_connection *c, u32 length, u32 left) {
    if (length >= c->mss || length >= MAX(c->snd.wnd_most / 2, 1U))
        return true;
    if (length < left)
        return false;
    if (c->snd.fin)
        return true;
    if (c->cork || c->more)
        return false;
    return c->no_delay || !tcp_before(c->snd.una, c->snd.small);
}

static bool next_new(const struct tcp_connection *c, bool push, struct tcp_range *out) {
    u32 left = c->snd.end + c->snd.fin - c->snd.nxt, edge = c->snd.una + c->snd.wnd;
    u32 room = tcp_before(c->snd.nxt, edge) ? edge - c->snd.nxt : 0;
    u32 length = MIN(left, (u32)c->mss + (left == c->mss + 1U && c->snd.fin));

    length = MIN(length, room);
    if (length == 0 || (!push && !is_worth_it(c, length, left)))
        return false;
    *out = (struct tcp_range){c->snd.nxt, c->snd.nxt + length};
    return true;
}

static bool is_allowed(const struct tcp_connection *c, u32 length) {
    u32 pipe = tcp_pipe(c);

    return pipe == 0 || c->congestion.force || pipe + length <= c->congestion.window;
}

// --- Sending it ---

static bool send_range(struct tcp_connection *c, const struct tcp_range *r) {
    u32 fin = c->snd.fin && r->end == c->snd.end + 1;
    u32 length = r->end - r->start - fin;
    u8 flags = TH_ACK | (fin ? TH_FIN : 0) | (r->start + length == c->snd.end ? TH_PUSH : 0);
    u64 now = network_now();

    if (tcp_transmit(c, r->start, flags, length) < 0)
        return false;
    c->snd.last = now;
    if (r->start != c->snd.nxt) { // again
        c->snd.again = r->end;
        c->snd.again_total++;
        c->congestion.force = false;
        return true;
    }
    if (c->snd.una == c->snd.nxt) { // the first after a rest
        c->snd.progress = now;
        tcp_retransmit_later(c);
    } else if (c->deadlines[TIMER_RETRANSMIT] == NEVER) {
        tcp_retransmit_later(c);
    }
    if (!c->rtt.timed_at && c->congestion.phase == PHASE_OPEN) {
        c->rtt.timed = r->start;
        c->rtt.timed_at = now;
    }
    if (length < c->mss)
        c->snd.small = r->end;
    c->snd.nxt = r->end;
    return true;
}

static void send_what_may_be_sent(struct tcp_connection *c) {
    struct tcp_range range;

    if (c->snd.una == c->snd.nxt && tcp_has_unsent(c) &&
        network_now() - c->snd.last > c->rtt.timeout * TCP_MICROSECONDS)
        tcp_congestion_rest(c);
    for (;;) {
        bool limited = c->congestion.limited;
        c->congestion.limited = false;
        if (!next_lost(c, &range) && !next_new(c, false, &range))
            break;
        c->congestion.limited = limited;
        if (!is_allowed(c, range.end - range.start)) {
            c->congestion.limited = true;
            break;
        }
        if (!send_range(c, &range))
            break;
    }
    if (c->snd.una == c->snd.nxt && tcp_has_unsent(c) && c->deadlines[TIMER_RETRANSMIT] == NEVER)
        tcp_retransmit_later(c); // to probe, or to send what is held back
}

void tcp_output(struct tcp_connection *c) {
    if (tcp_synchronized(c) && c->state != TCP_TIME_WAIT &&
        (tcp_has_unsent(c) || c->congestion.phase != PHASE_OPEN))
        send_what_may_be_sent(c);
    if (c->ack_now)
        tcp_send_ack(c);
}

void tcp_push(struct tcp_connection *c) {
    struct tcp_range range;

    if (next_new(c, true, &range))
        send_range(c, &range);
    else
        tcp_send_probe(c);
}

void tcp_send_ack(struct tcp_connection *c) {
    tcp_transmit(c, c->state == TCP_SYN_RECV ? c->snd.iss + 1 : c->snd.nxt, TH_ACK, 0);
}

// Nothing, from before the window: it has to be answered with an ACK (RFC 9293, 3.8.4, 3.8.6.1).
void tcp_send_probe(struct tcp_connection *c) {
    tcp_transmit(c, c->snd.una - 1, TH_ACK, 0);
}

void tcp_send_syn(struct tcp_connection *c) {
    bool answer = c->state == TCP_SYN_RECV;

    c->rtt.timed_at = c->snd.nxt == c->snd.iss ? network_now() : 0;
    c->rtt.timed = c->snd.iss;
    c->snd.nxt = c->snd.iss + 1;
    tcp_transmit(c, c->snd.iss, TH_SYN | (answer ? TH_ACK : 0), 0);
    tcp_retransmit_later(c);
}
