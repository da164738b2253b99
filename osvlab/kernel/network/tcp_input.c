// What a connection does with a segment: RFC 9293, section 3.10.7, in its order; checks against
// forged segments by RFC 5961, against old ones by RFC 7323 (PAWS).
//
// Invariant: rcv.nxt only grows, over bytes that are in the ring; nothing outside the offered
// window is ever stored.

#include "tcp.h"

#include "layers.h"

#define ACK_DELAY (40 * MILLISECOND)
#define TURN_MOST (1U << 14) // bytes in one turn without an acknowledgement
#define CHALLENGES_A_SECOND 10
#define WORTH_PLACING 256
#define MTU_LEAST 552 // as on Linux: what a forger may not go below
#define PAWS_VALID (24UL * 24 * 3600 * SECOND)

// An ACK that makes an honest peer explain itself. Few, so that nobody can make us shout.
void tcp_challenge(struct tcp_connection *c) {
    if (network_now() >= c->challenge_at) {
        c->challenge_at = network_now() + SECOND;
        c->challenges = 0;
    }
    if (c->challenges++ < CHALLENGES_A_SECOND)
        c->ack_now = true;
    else
        c->challenges = CHALLENGES_A_SECOND;
}

// --- SYN-SENT: 3.10.7.3 ---

static void answer_in_syn_sent(struct tcp_connection *c, const struct packet *packet,
                               const struct tcp_segment *s) {
    bool ack = s->flags & TH_ACK;

    if (ack && s->acknowledgement != c->snd.nxt) {
        tcp_refuse(packet, s);
        return;
    }
    if (s->flags & TH_RST) {
        if (ack)
            tcp_done(c, ECONNREFUSED);
        return;
    }
    if (!(s->flags & TH_SYN))
        return;
    tcp_take_syn(c, s);
    if (ack) {
        tcp_syn_acknowledged(c, s);
        tcp_established(c);
        c->ack_now = true;
    } else { // both have called at the same time
        c->state = TCP_SYN_RECV;
        tcp_send_syn(c);
    }
}

// --- First: is it from now, and for the window? ---

static bool is_old(const struct tcp_connection *c, const struct tcp_segment *s) {
    return (int32_t)(s->timestamp - c->stamp.recent) < 0 &&
           network_now() - c->stamp.recent_at < PAWS_VALID;
}

// Nothing in it is new but its acknowledgement: when both close at once, a repeated FIN is all that
// acknowledges ours.
static bool only_acknowledges(const struct tcp_connection *c, const struct tcp_segment *s) {
    return (s->flags & (TH_SYN | TH_RST | TH_ACK)) == TH_ACK && tcp_synchronized(c) &&
           c->state != TCP_TIME_WAIT && tcp_before(c->snd.una, s->acknowledgement);
}

// It begins in the window, or before it and reaches into it. What is next is looked at even when the
// window is closed, for its acknowledgement. Distances are compared: any two numbers have one.
static bool is_acceptable(const struct tcp_connection *c, const struct tcp_segment *s) {
    u32 length = s->length + !!(s->flags & TH_SYN) + !!(s->flags & TH_FIN);
    u32 ahead = s->sequence - c->rcv.nxt, behind = c->rcv.nxt - s->sequence;

    return ahead == 0 || ahead < c->rcv.adv - c->rcv.nxt || behind < length ||
           (behind == length && only_acknowledges(c, s));
}

static void answer_unacceptable(struct tcp_connection *c, const struct tcp_segment *s) {
    if (s->flags & TH_RST)
        return;
    if (c->state == TCP_TIME_WAIT && s->flags & TH_FIN)
        tcp_time_wait(c); // begins again
    if (s->length > 0 && !(s->flags & TH_SYN))
        c->ack_now = true;
    else
        tcp_challenge(c);
}

static void remember_timestamp(struct tcp_connection *c, const struct tcp_segment *s) {
    if (tcp_before(c->stamp.last_ack, s->sequence) || s->flags & TH_RST)
        return;
    c->stamp.recent = s->timestamp;
    c->stamp.recent_at = network_now();
}

// Cuts off what we have already, and what does not fit.
static void trim(struct tcp_connection *c, struct tcp_segment *s) {
    u32 known = c->rcv.nxt - s->sequence;

    if (tcp_before(s->sequence, c->rcv.nxt)) {
        known -= !!(s->flags & TH_SYN);
        s->flags &= (u8)~TH_SYN;
        if (known > s->length) { // all of it, and its FIN
            known = s->length;
            s->flags &= (u8)~TH_FIN;
        }
        s->sequence = c->rcv.nxt;
        s->data += known;
        s->length -= known;
        c->ack_now = true;
    }
    u32 end = s->sequence + s->length;
    if (tcp_before(c->rcv.adv, end)) {
        s->length -= end - c->rcv.adv;
        s->flags &= (u8) ~(TH_FIN | TH_PUSH);
        c->ack_now = true;
    }
}

// --- Second: RST, third: security (nobody has it), fourth: SYN ---

static void take_reset(struct tcp_connection *c, const struct tcp_segment *s) {
    if (s->sequence != c->rcv.nxt) {
        tcp_challenge(c);
        return;
    }
    switch (c->state) {
    case TCP_SYN_RECV:
        tcp_done(c, ECONNREFUSED);
        break;
    case TCP_CLOSE_WAIT:
        tcp_done(c, EPIPE);
        break;
    case TCP_CLOSING:
    case TCP_LAST_ACK:
    case TCP_TIME_WAIT:
        tcp_done(c, 0);
        break;
    default:
        tcp_done(c, ECONNRESET);
    }
}

// Fifth: the acknowledgement that a half-open connection waits for. False: go no further.
static bool complete_handshake(struct tcp_connection *c, const struct packet *packet,
                               const struct tcp_segment *s) {
    if (s->acknowledgement != c->snd.nxt) {
        tcp_refuse(packet, s);
        return false;
    }
    if (c->listener && tcp_listen_full(c))
        return false; // the peer sends again, and so do we
    tcp_syn_acknowledged(c, s);
    tcp_established(c);
    return true;
}

// --- Seventh: the text ---

// Every second full segment is worth an acknowledgement, but of those that came in the same turn
// one is enough at its end, unless the peer might meanwhile wait for room.
static void acknowledge_text(struct tcp_connection *c, u32 length, bool in_order) {
    c->rcv.segment = MAX(c->rcv.segment, length);
    u32 since = c->rcv.nxt - c->rcv.acked, quarter = c->rcv.limit / 4;
    u64 now = network_now();

    if (length >= TCP_MSS_DEFAULT && c->rcv.quick > 0) { // the peer is in slow start
        c->rcv.quick--;
        c->ack_now = true;
    }
    if (!in_order || c->rcv.early || since >= MIN(quarter, TURN_MOST))
        c->ack_now = true;
    else if (since >= 2 * c->rcv.segment)
        tcp_timer_set(c, TIMER_ACK, now);
    else if (!c->ack_now && c->deadlines[TIMER_ACK] == NEVER)
        tcp_timer_set(c, TIMER_ACK, now + ACK_DELAY);
}

// Bytes that came early may follow now.
static void advance(struct tcp_connection *c, u32 length) {
    c->rcv.nxt += length;
    tcp_ranges_cut(&c->rcv.early, c->rcv.nxt);
    if (c->rcv.early && c->rcv.early->at[0].start == c->rcv.nxt) {
        c->rcv.nxt = c->rcv.early->at[0].end;
        tcp_ranges_cut(&c->rcv.early, c->rcv.nxt);
    }
    if (c->socket)
        socket_readable(c->socket);
}

static void keep_early(struct tcp_connection *c, u32 sequence, u32 length) {
    if (!tcp_ranges_add(&c->rcv.early, sequence, sequence + length))
        return;
    for (u32 i = ARRAY_SIZE(c->rcv.recent) - 1; i > 0; i--)
        c->rcv.recent[i] = c->rcv.recent[i - 1];
    c->rcv.recent[0] = sequence;
}

static void take_text(struct tcp_connection *c, const struct tcp_segment *s) {
    u32 length = s->length;

    if (c->rcv.fin_ahead && tcp_before(c->rcv.fin_at, s->sequence + length))
        length = tcp_before(s->sequence, c->rcv.fin_at) ? c->rcv.fin_at - s->sequence : 0;
    if (length == 0 ||
        (c->state != TCP_ESTABLISHED && c->state != TCP_FIN_WAIT1 && c->state != TCP_FIN_WAIT2))
        return;
    if (c->orphan) { // nobody will read it, and the peer is to know (RFC 2525, section 2.17)
        tcp_abort(c, 0);
        return;
    }
    bool in_order = s->sequence == c->rcv.nxt, had_early = c->rcv.early;
    u32 room = tcp_ring_reserve(&c->rcv.ring, s->sequence, length);
    if (room < length && (!in_order || room == 0))
        return; // no memory: as if it had been lost
    if (!s->placed)
        tcp_ring_put(&c->rcv.ring, s->sequence, s->data, room);
    if (in_order)
        advance(c, room);
    else
        keep_early(c, s->sequence, room);
    acknowledge_text(c, room, in_order && !had_early);
}

// --- Eighth: FIN, when everything before it is here ---

static void take_fin(struct tcp_connection *c, const struct tcp_segment *s) {
    if (s->flags & TH_FIN && !c->rcv.fin_ahead) {
        c->rcv.fin_ahead = true;
        c->rcv.fin_at = s->sequence + s->length;
    }
    if (!c->rcv.fin_ahead || c->rcv.fin || c->rcv.nxt != c->rcv.fin_at)
        return;
    c->rcv.fin = true;
    c->rcv.nxt++;
    tcp_ranges_clear(&c->rcv.early); // behind the end there is nothing
    c->rcv.adv = tcp_later(c->rcv.adv, c->rcv.nxt);
    c->ack_now = true;
    switch (c->state) {
    case TCP_ESTABLISHED:
        c->state = TCP_CLOSE_WAIT;
        break;
    case TCP_FIN_WAIT1: // with our FIN acknowledged it would be FIN_WAIT2 by now
        c->state = TCP_CLOSING;
        break;
    case TCP_FIN_WAIT2:
        tcp_time_wait(c);
        break;
    }
    if (c->socket)
        socket_readable(c->socket);
}

// --- All of it ---

static void take(struct tcp_connection *c, const struct packet *packet, struct tcp_segment *s) {
    bool reset = s->flags & TH_RST;

    c->rcv.last = network_now();
    if (c->state == TCP_SYN_SENT) {
        answer_in_syn_sent(c, packet, s);
        return;
    }
    if (c->state == TCP_SYN_RECV && s->flags & TH_SYN && s->sequence == c->rcv.irs) {
        if (!(s->flags & TH_ACK)) { // our answer was lost
            tcp_send_syn(c);
            return;
        }
        s->sequence++; // both have called: the other half of what we know
        s->flags &= (u8)~TH_SYN;
    }
    if (c->timestamps && !reset) {
        if (!s->has_timestamp)
            return; // RFC 7323, section 3.2
        if (is_old(c, s)) {
            answer_unacceptable(c, s);
            return;
        }
    }
    if (!is_acceptable(c, s)) {
        answer_unacceptable(c, s);
        return;
    }
    if (c->timestamps)
        remember_timestamp(c, s);
    if (reset) { // by its own number, not by where what it brings along would be trimmed to
        take_reset(c, s);
        return;
    }
    trim(c, s);
    if (s->flags & TH_SYN) {
        tcp_challenge(c);
        return;
    }
    if (!(s->flags & TH_ACK))
        return;
    if (c->state == TCP_SYN_RECV && !complete_handshake(c, packet, s))
        return;
    if (!tcp_acknowledged(c, s) || c->state == TCP_CLOSE)
        return;
    take_text(c, s); // sixth, the urgent pointer, is for nobody: its byte is one like the others
    if (c->state != TCP_CLOSE)
        take_fin(c, s);
}

// A new connection in place of one in TIME_WAIT, if it cannot be taken for it (RFC 9293, section
// 3.6.1; RFC 6191).
static bool begins_anew(const struct tcp_connection *c, const struct tcp_segment *s) {
    if (c->state != TCP_TIME_WAIT || (s->flags & (TH_SYN | TH_ACK | TH_RST)) != TH_SYN)
        return false;
    if (c->timestamps && s->has_timestamp && s->timestamp != c->stamp.recent)
        return (int32_t)(s->timestamp - c->stamp.recent) > 0;
    return tcp_before(c->rcv.nxt, s->sequence);
}

static void deliver(const struct packet *packet, struct tcp_segment *s) {
    const struct tcp_header *header = (const void *)packet->data;
    struct tcp_connection *c =
        tcp_find(packet->destination, header->destination, packet->source, header->source);
    struct tcp_connection *listening = NULL;
    u32 above = c ? c->snd.nxt : 0;

    if (!c || begins_anew(c, s))
        listening = tcp_find_listener(packet->destination, header->destination);
    if (c && !listening) {
        take(c, packet, s);
        tcp_settle(c);
        return;
    }
    if (c) {
        tcp_done(c, 0);
        tcp_settle(c);
    }
    if (packet->broadcast)
        return;
    if (listening)
        tcp_listen_segment(listening, packet, s, c ? &above : NULL);
    else
        tcp_refuse(packet, s);
}

// The connection that waits for exactly these bytes, with room for them; or NULL.
static struct tcp_connection *waits_for(const struct packet *packet, const struct tcp_segment *s) {
    const struct tcp_header *header = (const void *)packet->data;
    struct tcp_connection *c =
        tcp_find(packet->destination, header->destination, packet->source, header->source);

    if (!c || c->state != TCP_ESTABLISHED || s->sequence != c->rcv.nxt || c->rcv.early ||
        c->rcv.adv - c->rcv.nxt < s->length ||
        tcp_ring_reserve(&c->rcv.ring, s->sequence, s->length) < s->length)
        return NULL;
    return c;
}

// Verifies the checksum. Bytes that come next are put where they belong on the way, so that they
// are read only once: if they turn out damaged, they lie where nothing is yet.
static bool is_intact(const struct packet *packet, struct tcp_segment *s) {
    if (packet->checksum_good)
        return true;
    u64 sum = checksum_pseudo_header(packet->source, packet->destination, IP_TCP, packet->length);
    sum = checksum_add(sum, packet->data, packet->length - s->length);
    struct tcp_connection *c = s->length >= WORTH_PLACING ? waits_for(packet, s) : NULL;
    if (!c)
        return !checksum_finish(checksum_add(sum, s->data, s->length));
    s->placed = true;
    u64 data = tcp_ring_put_sum(&c->rcv.ring, s->sequence, s->data, s->length);
    return !checksum_finish(sum + data);
}

void tcp_receive(struct packet *packet) {
    struct tcp_segment segment;

    if (tcp_parse(packet, &segment) && is_intact(packet, &segment))
        deliver(packet, &segment);
    packet_free(packet);
}

// --- ICMP's errors (RFC 1122, section 4.2.3.9; checked by RFC 5927) ---

static void path_is_narrow(struct tcp_connection *c, u32 mtu) {
    u32 headers = TCP_HEADER + IPV4_HEADER;

    if (mtu < MTU_LEAST || mtu - headers >= c->mss_peer)
        return;
    c->mss_peer = (u16)(mtu - headers);
    tcp_set_mss(c);
    if (c->snd.una != c->snd.nxt)
        tcp_congestion_too_large(c);
}

void tcp_error(const struct ipv4_header *sent, const u8 *transport, int error, u32 mtu) {
    const struct tcp_header *header = (const void *)transport; // its first 8 bytes
    struct tcp_connection *c =
        tcp_find(sent->source, header->source, sent->destination, header->destination);
    u32 sequence = swap32(header->sequence);

    if (!c || sequence - c->snd.una >= c->snd.nxt - c->snd.una)
        return; // not about anything that is on its way
    if (error == EMSGSIZE && tcp_synchronized(c))
        path_is_narrow(c, mtu);
    else if (c->state == TCP_SYN_SENT)
        tcp_done(c, error);
    else if (error != EMSGSIZE)
        c->soft_error = (u16)error; // to be told if nothing else comes
    tcp_settle(c);
}
