// TCP's timers: retransmission (RFC 6298), probing a closed window, delayed ACK, keep-alive, ends.
//
// One network timer per connection stands for the earliest of its deadlines. A deadline that moves
// back, as most do, leaves the timer alone: it comes up too early, finds nothing due and is set
// anew.
//
// Invariant: the network timer's deadline is not later than the earliest of `deadlines`, unless
// memory for it ran out; then the next event sets it.

#include "tcp.h"

#define TIMEOUT_LEAST (200 * 1000U) // microseconds; RFC 6298 says 1 s, Linux this
#define TIMEOUT_MOST (120UL * SECOND)
#define PROBE_MOST 15 // doublings of a second and more: a quarter of an hour, as on Linux
#define RETRIES_MOST 15
#define RETRIES_OF_ORPHAN 8
#define ORPHAN_PATIENCE (600 * SECOND) // with a peer that keeps its window closed

static u64 earliest(const struct tcp_connection *c) {
    u64 first = NEVER;

    for (int i = 0; i < TCP_TIMERS; i++)
        first = MIN(first, c->deadlines[i]);
    return first;
}

void tcp_timer_set(struct tcp_connection *c, enum tcp_timer which, u64 deadline) {
    c->deadlines[which] = deadline;
    if (deadline < c->timer.deadline)
        network_timer_set(&c->timer, deadline);
}

// --- Round trips ---

void tcp_rtt_sample(struct tcp_connection *c, u32 sample) {
    sample = MAX(sample, 1U);
    if (!c->rtt.smoothed) {
        c->rtt.smoothed = sample;
        c->rtt.variation = sample / 2;
    } else {
        u32 off = sample > c->rtt.smoothed ? sample - c->rtt.smoothed : c->rtt.smoothed - sample;
        c->rtt.variation += off / 4 - c->rtt.variation / 4;
        c->rtt.smoothed += sample / 8 - c->rtt.smoothed / 8;
    }
    u32 timeout = c->rtt.smoothed + MAX(1000U, 4 * c->rtt.variation);
    c->rtt.timeout = MIN(MAX(timeout, TIMEOUT_LEAST), (u32)(TIMEOUT_MOST / TCP_MICROSECONDS));
}

u64 tcp_timeout(const struct tcp_connection *c) {
    return MIN((c->rtt.timeout * TCP_MICROSECONDS) << MIN(c->backoff, 16), TIMEOUT_MOST);
}

static u64 patience_ends(const struct tcp_connection *c) {
    return c->user_timeout ? c->snd.progress + c->user_timeout * MILLISECOND : NEVER;
}

void tcp_retransmit_later(struct tcp_connection *c) {
    u64 at = network_now() + tcp_timeout(c), last = patience_ends(c);

    tcp_timer_set(c, TIMER_RETRANSMIT, last > network_now() ? MIN(at, last) : at);
}

// --- What is due ---

static void give_up(struct tcp_connection *c) {
    tcp_done(c, c->soft_error ? c->soft_error : ETIMEDOUT);
}

static void handshake_due(struct tcp_connection *c) {
    if (c->retries >= c->syn_retries || network_now() >= patience_ends(c)) {
        give_up(c);
        return;
    }
    c->retries++;
    c->backoff++;
    tcp_send_syn(c);
}

// Nothing is outstanding that could be lost: the window is closed, or data is held back.
static void probe_due(struct tcp_connection *c) {
    u64 now = network_now();

    if (c->snd.una == c->snd.nxt && !tcp_has_unsent(c))
        return;
    if (c->retries >= (c->orphan ? RETRIES_OF_ORPHAN : PROBE_MOST) ||
        (c->orphan && now - c->snd.progress > ORPHAN_PATIENCE) ||
        (c->retries > 0 && now >= patience_ends(c))) {
        give_up(c);
        return;
    }
    c->retries++;
    c->backoff += c->backoff < 16;
    tcp_push(c);
    tcp_retransmit_later(c);
}

static void retransmit_due(struct tcp_connection *c) {
    if (!tcp_synchronized(c)) {
        handshake_due(c);
        return;
    }
    if (c->snd.una == c->snd.nxt || c->snd.wnd == 0) {
        probe_due(c);
        return;
    }
    if (c->retries >= (c->orphan ? RETRIES_OF_ORPHAN : RETRIES_MOST) ||
        network_now() >= patience_ends(c)) {
        give_up(c);
        return;
    }
    tcp_congestion_timeout(c);
    c->retries++;
    c->backoff++;
    tcp_retransmit_later(c); // tcp_settle sends
}

void tcp_keep_alive(struct tcp_connection *c) {
    bool wanted = c->socket && c->socket->keep_alive && tcp_synchronized(c);

    if (wanted)
        tcp_timer_set(c, TIMER_KEEP, c->rcv.last + c->keep_idle * SECOND);
    else
        tcp_timer_clear(c, TIMER_KEEP);
}

static void keep_due(struct tcp_connection *c) {
    u64 now = network_now(), idle_since = c->rcv.last;

    if (!c->socket || !c->socket->keep_alive)
        return;
    if (c->snd.una != c->snd.nxt || tcp_has_unsent(c))
        idle_since = now; // retransmissions will find out
    if (now < idle_since + c->keep_idle * SECOND) {
        c->keep_probes = 0;
        tcp_timer_set(c, TIMER_KEEP, idle_since + c->keep_idle * SECOND);
        return;
    }
    if (c->user_timeout ? c->keep_probes && now >= c->rcv.last + c->user_timeout * MILLISECOND
                        : c->keep_probes >= c->keep_count) {
        tcp_abort(c, c->soft_error ? c->soft_error : ETIMEDOUT);
        return;
    }
    c->keep_probes++;
    tcp_send_probe(c);
    tcp_timer_set(c, TIMER_KEEP, now + c->keep_interval * SECOND);
}

static void acknowledgement_due(struct tcp_connection *c) {
    c->ack_now = true;
}

static void end_due(struct tcp_connection *c) {
    tcp_done(c, 0);
}

static void fired(struct network_timer *timer) {
    static void (*const due[TCP_TIMERS])(struct tcp_connection *) = {
        [TIMER_RETRANSMIT] = retransmit_due,
        [TIMER_ACK] = acknowledgement_due,
        [TIMER_KEEP] = keep_due,
        [TIMER_END] = end_due,
    };
    struct tcp_connection *c = CONTAINER_OF(timer, struct tcp_connection, timer);

    for (int i = 0; i < TCP_TIMERS && c->state != TCP_CLOSE; i++) {
        if (c->deadlines[i] > network_now())
            continue;
        c->deadlines[i] = NEVER;
        due[i](c);
    }
    if (c->state != TCP_CLOSE && earliest(c) < c->timer.deadline)
        network_timer_set(&c->timer, earliest(c));
    tcp_settle(c);
}

void tcp_timer_init(struct tcp_connection *c) {
    network_timer_init(&c->timer, fired);
    for (int i = 0; i < TCP_TIMERS; i++)
        c->deadlines[i] = NEVER;
}
