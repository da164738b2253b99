// What an acknowledgement says: bytes that need not be kept, a measured round trip, the peer's
// window, what arrived behind a hole (RFC 9293 section 3.10.7.4, fifth; RFC 6298, RFC 2018).
//
// Invariant: snd.una only grows, up to snd.nxt; the ring holds nothing below it. What the peer
// says it has is believed for not sending it again, never for giving it up (RFC 2018, section 8).

#include "tcp.h"

#define SAMPLE_MOST (120 * 1000U) // milliseconds; more is not a round trip

static void measure(struct tcp_connection *c, const struct tcp_segment *s) {
    if (c->timestamps && s->has_timestamp && s->timestamp_echo) {
        u32 milliseconds = tcp_clock(c) - s->timestamp_echo;
        if (milliseconds <= SAMPLE_MOST)
            tcp_rtt_sample(c, milliseconds * 1000);
    } else if (c->rtt.timed_at && tcp_before(c->rtt.timed, s->acknowledgement)) {
        tcp_rtt_sample(c, (u32)((network_now() - c->rtt.timed_at) / TCP_MICROSECONDS));
    }
    if (tcp_before(c->rtt.timed, s->acknowledgement))
        c->rtt.timed_at = 0;
}

static void take_window(struct tcp_connection *c, const struct tcp_segment *s) {
    u32 window = s->window << c->snd.scale;

    if (tcp_before(s->sequence, c->snd.wl1) ||
        (s->sequence == c->snd.wl1 && tcp_before(s->acknowledgement, c->snd.wl2)))
        return; // older than what we know
    if (window == 0) {
        c->retries = 0; // closed, but alive
    } else if (c->snd.wnd == 0) {
        c->backoff = 0;
        if (c->deadlines[TIMER_RETRANSMIT] != NEVER)
            tcp_retransmit_later(c);
    }
    c->snd.wnd = window;
    c->snd.wnd_most = MAX(c->snd.wnd_most, window);
    c->snd.wl1 = s->sequence;
    c->snd.wl2 = s->acknowledgement;
}

void tcp_syn_acknowledged(struct tcp_connection *c, const struct tcp_segment *s) {
    measure(c, s);
    c->snd.una = s->acknowledgement;
    c->snd.wnd = c->snd.wnd_most = s->flags & TH_SYN ? s->window : s->window << c->snd.scale;
    c->snd.wl1 = s->sequence;
    c->snd.wl2 = s->acknowledgement;
    c->snd.lost = c->snd.again = c->snd.recover = c->snd.una;
}

// True: the peer has something that it did not have before. What is not about bytes on their way is
// not believed; distances are compared, since numbers far apart have no order.
static bool take_sacks(struct tcp_connection *c, const struct tcp_segment *s) {
    u32 before = c->snd.sacked ? c->snd.sacked->bytes : 0;
    u32 outstanding = c->snd.nxt - c->snd.una, acked = s->acknowledgement - c->snd.una;

    for (u8 i = 0; c->sack && i < s->sack_count; i++) {
        u32 start = s->sacks[i].start - c->snd.una, end = s->sacks[i].end - c->snd.una;
        if (0 < start && start < end && end <= outstanding &&
            (acked > outstanding || acked < start))
            tcp_ranges_add(&c->snd.sacked, s->sacks[i].start, s->sacks[i].end);
    }
    return c->snd.sacked && c->snd.sacked->bytes != before;
}

static void fin_acknowledged(struct tcp_connection *c) {
    switch (c->state) {
    case TCP_FIN_WAIT1:
        c->state = TCP_FIN_WAIT2;
        if (c->orphan)
            tcp_wait_for_fin(c);
        break;
    case TCP_CLOSING:
        tcp_time_wait(c);
        break;
    case TCP_LAST_ACK:
        tcp_done(c, 0);
        break;
    }
}

static void advance(struct tcp_connection *c, const struct tcp_segment *s) {
    u32 ack = s->acknowledgement, acked = ack - c->snd.una;

    measure(c, s);
    if (tcp_before(ack, c->snd.end))
        tcp_ring_release(&c->snd.ring, c->snd.una, ack);
    else
        tcp_ring_clear(&c->snd.ring);
    c->snd.una = ack;
    tcp_ranges_cut(&c->snd.sacked, ack);
    if (c->snd.sacked && c->snd.sacked->at[0].start == ack)
        tcp_ranges_clear(&c->snd.sacked); // the peer has thrown away what it had reported
    c->snd.again = tcp_later(c->snd.again, ack);
    c->snd.lost = tcp_later(c->snd.lost, ack);
    c->snd.progress = network_now();
    c->retries = c->backoff = 0;
    c->soft_error = 0;
    tcp_congestion_ack(c, acked);
    if (ack == c->snd.nxt)
        tcp_timer_clear(c, TIMER_RETRANSMIT);
    else
        tcp_retransmit_later(c);
    if (c->snd.fin && ack == c->snd.end + 1)
        fin_acknowledged(c);
    if (c->socket && c->state != TCP_CLOSE)
        socket_writable(c->socket);
}

// False: the segment is not to be looked at any further.
bool tcp_acknowledged(struct tcp_connection *c, const struct tcp_segment *s) {
    u32 ack = s->acknowledgement;

    if (ack - c->snd.una > c->snd.nxt - c->snd.una && c->snd.una - ack > c->snd.wnd_most) {
        tcp_challenge(c); // neither new nor a little old: RFC 5961, section 5
        return false;
    }
    bool outstanding = c->snd.una != c->snd.nxt;
    bool news = outstanding && take_sacks(c, s);
    bool same_window = s->window << c->snd.scale == c->snd.wnd;
    bool duplicate =
        outstanding && ack == c->snd.una && s->length == 0 && !(s->flags & TH_FIN) && same_window;
    if (tcp_before(c->snd.una, ack))
        advance(c, s);
    if (c->state == TCP_CLOSE)
        return false;
    take_window(c, s);
    if (outstanding && c->snd.una != c->snd.nxt)
        tcp_congestion_duplicate(c, c->sack ? news && ack == c->snd.una : duplicate);
    return true;
}
