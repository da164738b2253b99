// Segments: taking a received one apart, and building one to be sent (RFC 9293, section 3.1;
// options: section 3.2, RFC 7323, RFC 2018).
//
// Invariant: what tcp_parse accepts has its data inside the packet. Options are believed only when they have exactly their length; the rest are skipped by their length.

#include "tcp.h"

#include "layers.h"

#define TIMESTAMP_ALONE swap32(0x0101080a) // NOP NOP kind 8 length 10, as everybody sends it

static u32 load32(const u8 *at) {
    u32 value;
    memcpy(&value, at, sizeof(value));
    return swap32(value);
}

static u8 *store32(u8 *at, u32 value) {
    value = swap32(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

// --- Receiving ---

static void parse_option(const u8 *option, u8 size, struct tcp_segment *out) {
    switch (option[0]) {
    case TCPOPT_MAXSEG:
        if (size == TCPOLEN_MAXSEG)
            out->mss = (u16)(option[2] << 8 | option[3]);
        break;
    case TCPOPT_WINDOW:
        out->has_scale = size == TCPOLEN_WINDOW;
        out->scale = MIN(option[2], 14);
        break;
    case TCPOPT_SACK_PERMITTED:
        out->may_sack = size == TCPOLEN_SACK_PERMITTED;
        break;
    case TCPOPT_TIMESTAMP:
        if (size != TCPOLEN_TIMESTAMP)
            break;
        out->has_timestamp = true;
        out->timestamp = load32(option + 2);
        out->timestamp_echo = load32(option + 6);
        break;
    case TCPOPT_SACK:
        out->sack_count = 0;
        for (u8 at = 2; at + 8 <= size && out->sack_count < ARRAY_SIZE(out->sacks); at += 8)
            out->sacks[out->sack_count++] =
                (struct tcp_range){load32(option + at), load32(option + at + 4)};
        break;
    }
}

static void parse_options(const u8 *at, const u8 *end, struct tcp_segment *out) {
    u32 first;

    if (end - at == TCP_TIMESTAMP_SIZE && (memcpy(&first, at, 4), first == TIMESTAMP_ALONE)) {
        parse_option(at + 2, TCPOLEN_TIMESTAMP, out);
        return;
    }
    while (at < end && *at != TCPOPT_EOL) {
        if (*at == TCPOPT_NOP) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at)
            return;
        if (at[1] > 2 || *at == TCPOPT_SACK_PERMITTED)
            parse_option(at, at[1], out);
        at += at[1];
    }
}

bool tcp_parse(const struct packet *packet, struct tcp_segment *out) {
    const struct tcp_header *header = (const void *)packet->data;

    if (packet->length < TCP_HEADER || packet->length > UINT16_MAX)
        return false;
    u32 size = (header->offset >> 4) * 4U;
    if (size < TCP_HEADER || size > packet->length)
        return false;
    out->sequence = swap32(header->sequence);
    out->acknowledgement = swap32(header->acknowledgement);
    out->window = swap16(header->window);
    out->flags = header->flags & TCP_FLAGS;
    out->data = packet->data + size;
    out->length = packet->length - size;
    out->placed = false;
    out->has_timestamp = out->has_scale = out->may_sack = false;
    out->sack_count = 0;
    out->mss = 0;
    if (size > TCP_HEADER)
        parse_options(packet->data + TCP_HEADER, out->data, out);
    return true;
}

// --- Building ---

u32 tcp_clock(const struct tcp_connection *c) {
    return (u32)(network_now() / MILLISECOND) + c->stamp.offset;
}

static u8 *put_timestamp(const struct tcp_connection *c, u8 *at) {
    at = store32(at, tcp_clock(c));
    return store32(at, c->stamp.recent);
}

// In a SYN of ours everything is offered, in the answer to one what the peer has offered, too.
static u8 *put_syn_options(const struct tcp_connection *c, bool answer, u8 *at) {
    u32 mss = tcp_mss_here(c);

    at = store32(at, TCPOPT_MAXSEG << 24 | TCPOLEN_MAXSEG << 16 | mss);
    if (!answer || c->rcv.scale)
        at = store32(at, TCPOPT_NOP << 24 | TCPOPT_WINDOW << 16 | TCPOLEN_WINDOW << 8 |
                             TCP_WINDOW_SHIFT);
    u32 sack = !answer || c->sack ? TCPOPT_SACK_PERMITTED << 8 | TCPOLEN_SACK_PERMITTED
                                  : TCPOPT_NOP << 8 | TCPOPT_NOP;
    if (!answer || c->timestamps) {
        at = store32(at, sack << 16 | TCPOPT_TIMESTAMP << 8 | TCPOLEN_TIMESTAMP);
        return put_timestamp(c, at);
    }
    return c->sack ? store32(at, sack << 16 | TCPOPT_NOP << 8 | TCPOPT_NOP) : at;
}

static u32 add_unless_said(const struct tcp_range **said, u32 count,
                           const struct tcp_range *range) {
    for (u32 i = 0; i < count; i++)
        if (said[i] == range)
            return count;
    said[count] = range;
    return count + (range != NULL);
}

// The range that the last segment fell into comes first, then those before it, then any: what one
// lost acknowledgement has said is said again by the next (RFC 2018, section 4).
static u8 *put_sacks(const struct tcp_connection *c, u8 *at, u32 room) {
    const struct tcp_ranges *early = c->rcv.early;
    const struct tcp_range *said[5];
    u32 count = 0, most = MIN(4U, room < 4 ? 0 : (room - 4) / 8);

    for (u32 i = 0; i < ARRAY_SIZE(c->rcv.recent) && count < most; i++)
        count = add_unless_said(said, count, tcp_ranges_find(early, c->rcv.recent[i]));
    for (u32 i = early->count; i > 0 && count < most; i--)
        count = add_unless_said(said, count, &early->at[i - 1]);
    if (count == 0)
        return at;
    at = store32(at, TCPOPT_NOP << 24 | TCPOPT_NOP << 16 | TCPOPT_SACK << 8 | (2 + 8 * count));
    for (u32 i = 0; i < count; i++)
        at = store32(store32(at, said[i]->start), said[i]->end);
    return at;
}

static u32 put_options(const struct tcp_connection *c, u8 flags, u32 length, u8 *options) {
    u8 *at = options;

    if (flags & TH_SYN)
        return (u32)(put_syn_options(c, flags & TH_ACK, at) - options);
    if (c->timestamps) {
        at = store32(at, swap32(TIMESTAMP_ALONE));
        at = put_timestamp(c, at);
    }
    if (c->rcv.early && c->sack) {
        u32 room = 40 - (u32)(at - options);
        if (length > 0)
            room = MIN(room, c->mss - MIN(length, c->mss));
        at = put_sacks(c, at, room);
    }
    return (u32)(at - options);
}

// Puts the header in front of a packet that holds the data, whose sum is `sum`.
static void put_header(struct packet *packet, const struct tcp_header *fields, const u8 *options,
                       u32 option_size, u64 sum, ipv4_address from, ipv4_address to) {
    struct tcp_header *header = packet_push(packet, TCP_HEADER + option_size);

    *header = *fields;
    header->offset = (u8)((TCP_HEADER + option_size) / 4 << 4);
    if (option_size > 0)
        memcpy(header + 1, options, option_size);
    u64 pseudo = checksum_pseudo_header(from, to, IP_TCP, packet->length);
    if (packet->checksum_partial) {
        header->checksum = (u16)~checksum_finish(pseudo);
        packet->checksum_offset = offsetof(struct tcp_header, checksum);
        return;
    }
    sum += checksum_add(pseudo, header, TCP_HEADER + option_size);
    header->checksum = checksum_finish(sum);
}

// Sends `length` bytes of the ring from `sequence`. 0, -ENOBUFS: it is as if nothing had been sent.
int tcp_transmit(struct tcp_connection *c, u32 sequence, u8 flags, u32 length) {
    u8 options[40];
    u32 option_size = put_options(c, flags, length, options);
    struct packet *packet = packet_allocate(TCP_HEADER + option_size + length);

    if (!packet)
        return -ENOBUFS;
    packet->data += TCP_HEADER + option_size; // for the header, pushed when the data is known
    packet->checksum_partial = c->interface->sends_checksums;
    u64 sum = 0;
    if (length > 0)
        sum = tcp_ring_take(&c->snd.ring, sequence, packet_put(packet, length), length,
                            !packet->checksum_partial);
    u32 window = tcp_window(c);
    u32 field = MIN(flags & TH_SYN ? window : window >> c->rcv.scale, (u32)UINT16_MAX);
    struct tcp_header header = {
        .source = c->local_port,
        .destination = c->remote_port,
        .sequence = swap32(sequence),
        .acknowledgement = flags & TH_ACK ? swap32(c->rcv.nxt) : 0,
        .flags = flags,
        .window = swap16((u16)field),
    };
    put_header(packet, &header, options, option_size, sum, c->local, c->remote);
    if (flags & TH_ACK) {
        u32 edge = c->rcv.nxt + (flags & TH_SYN ? field : field << c->rcv.scale);
        c->rcv.adv = tcp_later(c->rcv.adv, edge);
        c->rcv.acked = c->stamp.last_ack = c->rcv.nxt;
        c->ack_now = false;
        tcp_timer_clear(c, TIMER_ACK);
    }
    // A path that swallows large packets and says nothing would end all: after a few timeouts they
    // may be cut on their way.
    struct ipv4_options ip = {.dont_fragment = c->retries < 3};
    if (c->socket) {
        ip.time_to_live = c->socket->ip.time_to_live;
        ip.service = c->socket->ip.service;
    }
    int status = ipv4_send(packet, c->local, c->remote, IP_TCP, &ip);
    if (status == -EMSGSIZE)
        tcp_set_mss(c);
    else if (status < 0 && status != -ENOBUFS)
        c->soft_error = (u16)-status;
    return status == -ENOBUFS ? status : 0;
}

// The answer to a segment that belongs to no connection (RFC 9293, section 3.10.7.1).
void tcp_refuse(const struct packet *packet, const struct tcp_segment *s) {
    const struct tcp_header *theirs = (const void *)packet->data;
    u32 length = s->length + !!(s->flags & TH_SYN) + !!(s->flags & TH_FIN);
    bool ack = !(s->flags & TH_ACK);
    struct packet *answer = s->flags & TH_RST ? NULL : packet_allocate(TCP_HEADER);

    if (!answer)
        return;
    struct tcp_header header = {
        .source = theirs->destination,
        .destination = theirs->source,
        .sequence = ack ? 0 : swap32(s->acknowledgement),
        .acknowledgement = ack ? swap32(s->sequence + length) : 0,
        .flags = TH_RST | (ack ? TH_ACK : 0),
    };
    answer->data += TCP_HEADER;
    put_header(answer, &header, NULL, 0, 0, packet->destination, packet->source);
    ipv4_send(answer, packet->destination, packet->source, IP_TCP, NULL);
}
