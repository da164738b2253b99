// How much may be on its way: slow start and congestion avoidance (RFC 5681), with an initial
// window of ten segments (RFC 6928); recovery from losses with selective acknowledgements
// (RFC 6675) or without (NewReno, RFC 6582).
//
// Both recoveries are one mechanism. `lost` says: what is not sacked below it has left the network.
// `again` says: what is below it has been sent again. The pipe is what is left in between, and
// something may be sent while the pipe is smaller than the window. Without SACK each duplicate
// acknowledgement stands for one segment that has arrived, and only the first segment is known to
// be lost.
//
// Invariant: una <= lost, again <= nxt while a recovery goes on.

#include "tcp.h"

#define DUPLICATES 3
#define INITIAL_SEGMENTS 10U
#define INITIAL_BYTES 14600U
#define WINDOW_MOST (1U << 20) // more than a ring can fill

static u32 initial_window(const struct tcp_connection *c) {
    return MIN(INITIAL_SEGMENTS * c->mss, MAX(2U * c->mss, INITIAL_BYTES));
}

void tcp_congestion_init(struct tcp_connection *c) {
    c->congestion.window = initial_window(c);
    c->congestion.threshold = WINDOW_MOST;
    if (c->retries > 0) // the SYN was lost
        c->congestion.window = c->mss;
}

u32 tcp_pipe(const struct tcp_connection *c) {
    u32 outstanding = c->snd.nxt - c->snd.una, gone = 0;
    const struct tcp_ranges *sacked = c->snd.sacked;

    if (sacked)
        gone = sacked->bytes;
    else if (!c->sack)
        gone = (u32)c->congestion.duplicates * c->mss;
    if (c->congestion.phase != PHASE_OPEN && tcp_before(c->snd.again, c->snd.lost))
        gone += c->snd.lost - c->snd.again - tcp_ranges_within(sacked, c->snd.again, c->snd.lost);
    return outstanding - MIN(gone, outstanding);
}

// Everything below is lost: three ranges, or more than two segments' bytes, have arrived above.
static u32 lost_below(const struct tcp_connection *c) {
    const struct tcp_ranges *r = c->snd.sacked;
    u32 bytes = 0;

    for (u32 i = r ? r->count : 0; i > 0; i--) {
        bytes += r->at[i - 1].end - r->at[i - 1].start;
        if (r->count - i + 1 >= DUPLICATES || bytes > (DUPLICATES - 1) * c->mss)
            return r->at[i - 1].start;
    }
    return c->snd.una;
}

static u32 half_of_flight(const struct tcp_connection *c) {
    return MAX((c->snd.nxt - c->snd.una) / 2, 2U * c->mss);
}

static void first_is_lost(struct tcp_connection *c) {
    u32 end = tcp_earlier(c->snd.una + c->mss, c->snd.nxt);
    c->snd.lost = tcp_later(c->snd.lost, end);
}

static void begin_recovery(struct tcp_connection *c) {
    c->congestion.threshold = c->congestion.window = half_of_flight(c);
    c->congestion.phase = PHASE_RECOVERY;
    c->congestion.force = true; // the first is sent again whatever the pipe
    c->snd.recover = c->snd.nxt;
    c->snd.again = c->snd.una;
    c->snd.lost = lost_below(c);
    c->rtt.timed_at = 0;
    first_is_lost(c);
}

void tcp_congestion_duplicate(struct tcp_connection *c, bool duplicate) {
    if (duplicate && c->congestion.duplicates < UINT16_MAX)
        c->congestion.duplicates++;
    if (c->congestion.phase == PHASE_RECOVERY)
        c->snd.lost = tcp_later(c->snd.lost, lost_below(c));
    else if (c->congestion.phase == PHASE_OPEN &&
             (c->congestion.duplicates >= DUPLICATES || lost_below(c) != c->snd.una))
        begin_recovery(c);
}

static void grow(struct tcp_connection *c, u32 acked) {
    u32 mss = c->mss;

    if (!c->congestion.limited) // what was not used is not known to be there (RFC 7661)
        return;
    if (c->congestion.window < c->congestion.threshold) {
        c->congestion.window += MIN(acked, 2 * mss); // RFC 3465
    } else {
        c->congestion.acked += acked;
        if (c->congestion.acked >= c->congestion.window) {
            c->congestion.acked -= c->congestion.window;
            c->congestion.window += mss;
        }
    }
    c->congestion.window = MIN(c->congestion.window, WINDOW_MOST);
}

static void end_recovery(struct tcp_connection *c) {
    c->congestion.phase = PHASE_OPEN;
    c->congestion.duplicates = 0;
    c->congestion.acked = 0;
    c->congestion.force = false;
    c->snd.lost = c->snd.again = c->snd.una;
}

// Some but not all of what was on its way has arrived: the next hole was lost with the first.
static void partial(struct tcp_connection *c, u32 acked) {
    u16 arrived = (u16)MIN(acked / c->mss, (u32)UINT16_MAX);

    c->congestion.duplicates -= MIN(c->congestion.duplicates, arrived);
    if (c->snd.again == c->snd.una)
        first_is_lost(c);
}

void tcp_congestion_ack(struct tcp_connection *c, u32 acked) {
    if (c->congestion.phase != PHASE_OPEN && !tcp_before(c->snd.una, c->snd.recover)) {
        bool fast = c->congestion.phase == PHASE_RECOVERY;
        end_recovery(c);
        if (fast)
            return;
    }
    if (c->congestion.phase == PHASE_RECOVERY) {
        if (!c->sack)
            c->snd.again = c->snd.una;
        partial(c, acked);
        return;
    }
    c->congestion.duplicates = 0;
    grow(c, acked);
}

// Nothing has come back for a whole timeout: begin from one segment.
void tcp_congestion_timeout(struct tcp_connection *c) {
    if (c->retries == 0)
        c->congestion.threshold = half_of_flight(c);
    else
        tcp_ranges_clear(&c->snd.sacked); // perhaps the peer has it no more (RFC 2018, section 8)
    c->congestion.window = c->mss;
    c->congestion.phase = PHASE_LOSS;
    c->congestion.duplicates = 0;
    c->congestion.acked = 0;
    c->snd.recover = c->snd.lost = c->snd.nxt;
    c->snd.again = c->snd.una;
    c->rtt.timed_at = 0;
}

// What is on its way does not get through, but not for want of room: only send it again.
void tcp_congestion_too_large(struct tcp_connection *c) {
    c->congestion.phase = PHASE_LOSS;
    c->snd.recover = c->snd.lost = c->snd.nxt;
    c->snd.again = c->snd.una;
    c->rtt.timed_at = 0;
}

// After a rest, nothing is known about the path (RFC 5681, section 4.1).
void tcp_congestion_rest(struct tcp_connection *c) {
    c->congestion.window = MIN(c->congestion.window, initial_window(c));
}
