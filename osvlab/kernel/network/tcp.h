// TCP (RFC 9293): the state of a connection, and who does what.
//
// Reading order: this file; tcp_table.c (who is who), tcp_segment.c (bytes on the wire),
// tcp_input.c (RFC 9293, section 3.10.7, in its order), tcp_ack.c, tcp_output.c, tcp_timers.c;
// then tcp_ring.c, tcp_ranges.c, tcp_congestion.c; tcp_connection.c, tcp_listen.c and
// tcp_socket.c, where applications come in.
//
// Sequence numbers name bytes, and a ring's offset is a sequence number. So data that arrives too
// early is written where it belongs, and what is to be sent again is read where it is.
//
//   send       acknowledged | una ... sent, not acknowledged ... nxt ... written ... end | room
//   receive    read | read ... waits for the application ... nxt ... window ... adv |
//
// Invariants. snd.una <= snd.nxt <= snd.end (+ 1 when the FIN has been sent), and the send ring
// holds what lies between una and end. rcv.read <= rcv.nxt <= rcv.adv, adv never goes back, and
// the receive ring holds [read, nxt) and what rcv.early lists, which is all above nxt.
// A connection is in the table of connections, or on the list of bound ports, or nowhere.
//
// All of this is under the network lock. Every way in (a segment, a timer, an application's call,
// an ICMP error) ends with tcp_settle, which sends what may be sent and frees what is over; so
// nothing below frees a connection that somebody above still looks at.
#pragma once

#include <netinet/tcp.h>
#include <string.h>

#include "socket.h"

#include "ipv4.h"
#include "memory.h"

#define TCP_MICROSECONDS 1000UL // nanoseconds in one
#define TCP_RING_PAGES 64U      // places in a ring; one stays free, so that both ends never share
#define TCP_RING_MOST ((TCP_RING_PAGES - 1) * (u32)PAGE_SIZE)
#define TCP_RANGES 61
#define TCP_WINDOW_SHIFT 2 // enough for TCP_RING_MOST (RFC 7323)
#define TCP_HEADER 20U
#define TCP_TIMESTAMP_SIZE 12U
#define TCP_MSS_DEFAULT 536U
#define TCP_MSS_LEAST 48U
#define TCP_MSS_MOST 16000U // so that a packet needs no more than four pages in one piece
#define TCP_FLAGS (TH_FIN | TH_SYN | TH_RST | TH_PUSH | TH_ACK | TH_URG)

struct tcp_header {
    u16 source, destination;
    u32 sequence, acknowledgement;
    u8 offset, flags;
    u16 window, checksum, urgent;
} __attribute__((packed, aligned(2)));

// A part of the sequence space: [start, end).
struct tcp_range {
    u32 start, end;
};

// Sorted, apart, none empty. NULL stands for none at all.
struct tcp_ranges {
    u32 count, bytes;
    struct tcp_range at[TCP_RANGES];
};

struct tcp_ring {
    u8 **pages; // by sequence number, modulo the ring; NULL: no page anywhere
};

// A received segment, in host byte order.
struct tcp_segment {
    u32 sequence, acknowledgement, length;
    u32 window; // as in the packet: not scaled
    const u8 *data;
    u8 flags;
    bool placed; // the data is in the ring already, above rcv.nxt
    bool has_timestamp, has_scale, may_sack;
    u8 scale, sack_count;
    u16 mss;
    u32 timestamp, timestamp_echo;
    struct tcp_range sacks[4];
};

enum tcp_timer {
    TIMER_RETRANSMIT, // or to probe a window that is closed
    TIMER_ACK,        // a delayed acknowledgement
    TIMER_KEEP,       // keep-alive
    TIMER_END,        // of TIME_WAIT, and of a FIN_WAIT_2 that nobody has open
    TCP_TIMERS
};

enum tcp_phase { PHASE_OPEN, PHASE_RECOVERY, PHASE_LOSS };

struct tcp_connection {
    struct tcp_connection *chain;  // in its bucket of the table
    struct list link;              // among bound ports, a listener's queues, or those in TIME_WAIT
    struct socket *socket;         // NULL: nobody has it open
    struct tcp_listener *listener; // LISTEN: its own; else whose queue it is on
    struct interface *interface;   // towards the peer
    ipv4_address local, remote;    // these four as in packets
    u16 local_port, remote_port;
    u8 state; // TCP_ESTABLISHED... as in netinet/tcp.h
    bool hashed, bound, orphan;
    bool reuse_address, reuse_port; // as the socket had it, for when there is none
    bool ack_now;                   // tcp_settle is to acknowledge
    bool no_delay, cork, more;      // TCP_NODELAY, TCP_CORK, MSG_MORE
    bool read_shut;
    bool timestamps, sack;  // agreed on
    u16 mss;                // bytes of a full segment, options taken off
    u16 mss_peer, mss_user; // the peer's option; TCP_MAXSEG (0: none)
    u16 soft_error;         // the last ICMP error
    u8 retries, backoff;    // timeouts without an answer; doublings of the next timeout
    u8 syn_retries, keep_count, keep_probes;
    u16 keep_idle, keep_interval; // seconds
    u32 user_timeout;             // milliseconds; 0: none
    int fin_timeout;              // TCP_LINGER2: seconds; 0: the default
    struct network_timer timer;   // for the earliest of:
    u64 deadlines[TCP_TIMERS];

    struct { // RFC 9293, figure 3
        u32 iss, una, nxt, wnd, wl1, wl2, end;
        u32 wnd_most; // the largest window the peer ever offered
        u8 scale;
        bool fin;     // after `end` comes a FIN
        u64 progress; // when una moved last, or something was sent after a rest
        u64 last;     // when data was last sent
        struct tcp_ring ring;
        struct tcp_ranges *sacked; // what the peer has above una
        u32 lost, again;           // below `lost`, and from `again` on, what is not sacked has
                                   // to be sent again
        u32 recover;               // nxt when recovery began (RFC 6582)
        u32 small;                 // where the last short segment ended
        u32 again_total;
    } snd;

    struct {
        u32 irs, nxt, adv, read;
        u32 limit;       // bytes the ring may hold
        u32 acked;       // nxt when the last acknowledgement was sent
        u32 segment;     // the largest that has come: what a full one seems to be
        u32 round_start; // `read` when this round of measuring began
        u64 round_at;
        u64 last;            // when a segment came last
        bool fin, fin_ahead; // the peer's FIN: taken; known to be at fin_at
        u8 scale, quick;     // full segments still to be acknowledged at once
        u32 fin_at;
        u32 recent[3]; // where the last early segments began: those are reported first
        struct tcp_ring ring;
        struct tcp_ranges *early;
    } rcv;

    struct { // RFC 7323; our clock runs in milliseconds, from a secret origin
        u32 offset, recent, last_ack;
        u64 recent_at;
    } stamp;

    struct { // RFC 6298, in microseconds
        u32 smoothed, variation, timeout;
        u32 timed;    // without timestamps: the sequence number being timed
        u64 timed_at; // 0: none
    } rtt;

    struct { // RFC 5681, in bytes
        u32 window, threshold, acked;
        u16 duplicates;
        u8 phase;
        bool limited; // it was the window that kept us from sending
        bool force;   // the first segment of a recovery goes out in any case
    } congestion;
    u64 challenge_at; // no challenge ACK before this (RFC 5961, section 7)
    u8 challenges;
};

struct tcp_listener {
    struct list half_open, ready; // of connections; oldest first
    u32 half_open_count, ready_count, backlog;
};

// Comparing modulo 2^32 (RFC 9293, section 3.4).
static inline bool tcp_before(u32 a, u32 b) {
    return (int32_t)(a - b) < 0;
}
static inline u32 tcp_later(u32 a, u32 b) {
    return tcp_before(a, b) ? b : a;
}
static inline u32 tcp_earlier(u32 a, u32 b) {
    return tcp_before(a, b) ? a : b;
}

// tcp_ring.c
u32 tcp_ring_reserve(struct tcp_ring *ring, u32 at, u32 size);      // bytes there is memory for
u8 *tcp_ring_piece(const struct tcp_ring *ring, u32 at, u32 *size); // in one piece
void tcp_ring_put(struct tcp_ring *ring, u32 at, const u8 *data, u32 size);    // reserved before
u64 tcp_ring_put_sum(struct tcp_ring *ring, u32 at, const u8 *data, u32 size); // the checksum's
u64 tcp_ring_take(const struct tcp_ring *ring, u32 at, u8 *to, u32 size, bool sum);
void tcp_ring_release(struct tcp_ring *ring, u32 from, u32 to); // whole pages below `to`
void tcp_ring_clear(struct tcp_ring *ring);
bool tcp_rings_are_tight(void); // memory for rings is getting short
size_t tcp_rings_pages(void);   // in rings; for tests

// tcp_ranges.c
bool tcp_ranges_add(struct tcp_ranges **ranges, u32 start, u32 end); // false: no room for it
void tcp_ranges_cut(struct tcp_ranges **ranges, u32 below);
void tcp_ranges_clear(struct tcp_ranges **ranges);
u32 tcp_ranges_within(const struct tcp_ranges *ranges, u32 start, u32 end); // bytes
// The first hole in [from, below).
bool tcp_ranges_hole(const struct tcp_ranges *ranges, u32 from, u32 below, struct tcp_range *out);
const struct tcp_range *tcp_ranges_find(const struct tcp_ranges *ranges, u32 at);

// tcp_table.c
extern struct list tcp_bound;    // connections that hold a port, without a peer
u64 tcp_hash(u64 a, u64 b);      // SipHash, under a secret key
void tcp_hash_key(u64 a, u64 b); // for tests
struct tcp_connection *tcp_find(ipv4_address local, u16 local_port, ipv4_address remote,
                                u16 remote_port);
struct tcp_connection *tcp_find_listener(ipv4_address local, u16 port);
void tcp_table_add(struct tcp_connection *c);
void tcp_table_remove(struct tcp_connection *c);
void tcp_each(bool (*visit)(struct tcp_connection *, void *), void *argument); // true: stop
int tcp_port_take(struct tcp_connection *c, ipv4_address address, u16 port);
int tcp_port_choose(struct tcp_connection *c);                        // to connect from
bool tcp_somebody_listens(const struct tcp_connection *c);            // where this one would
void tcp_choose_sequence(struct tcp_connection *c, const u32 *above); // RFC 6528

// tcp_connection.c
extern u32 tcp_connection_count, tcp_orphan_count, tcp_time_wait_count;
struct tcp_connection *tcp_new(void);
void tcp_prepare(struct tcp_connection *c); // all but what options set, as before a connection
int tcp_find_path(struct tcp_connection *c);
u32 tcp_mss_here(const struct tcp_connection *c);
void tcp_set_mss(struct tcp_connection *c);
void tcp_take_syn(struct tcp_connection *c, const struct tcp_segment *segment);
void tcp_established(struct tcp_connection *c);
void tcp_fin_queue(struct tcp_connection *c); // the application is done with sending
void tcp_time_wait(struct tcp_connection *c);
void tcp_detach(struct tcp_connection *c);
void tcp_wait_for_fin(struct tcp_connection *c);     // FIN_WAIT2, and nobody has it open
void tcp_done(struct tcp_connection *c, int error);  // CLOSED; error: positive errno, or 0
void tcp_abort(struct tcp_connection *c, int error); // the same with a RST to the peer
void tcp_settle(struct tcp_connection *c);           // last of all: c may be gone afterwards

// tcp_listen.c
int tcp_listen(struct tcp_connection *c, int backlog);
void tcp_unlisten(struct tcp_connection *c);
void tcp_listen_segment(struct tcp_connection *listening, const struct packet *packet,
                        const struct tcp_segment *segment, const u32 *above);
bool tcp_listen_full(const struct tcp_connection *child);
void tcp_listen_ready(struct tcp_connection *child);
void tcp_listen_leave(struct tcp_connection *child); // off its listener's queues
struct tcp_connection *tcp_listen_take(struct tcp_connection *listening);

// tcp_segment.c
bool tcp_parse(const struct packet *packet, struct tcp_segment *out);
int tcp_transmit(struct tcp_connection *c, u32 sequence, u8 flags, u32 length);
void tcp_refuse(const struct packet *packet, const struct tcp_segment *segment);
u32 tcp_clock(const struct tcp_connection *c); // for timestamps

// tcp_input.c
void tcp_challenge(struct tcp_connection *c);

// tcp_ack.c
void tcp_syn_acknowledged(struct tcp_connection *c, const struct tcp_segment *segment);
bool tcp_acknowledged(struct tcp_connection *c, const struct tcp_segment *segment);

// tcp_output.c
void tcp_output(struct tcp_connection *c);
void tcp_send_syn(struct tcp_connection *c);
void tcp_send_ack(struct tcp_connection *c);
void tcp_send_probe(struct tcp_connection *c);    // something that has to be answered
void tcp_push(struct tcp_connection *c);          // what fits, however little
u32 tcp_window(struct tcp_connection *c);         // that may be offered now
void tcp_window_opened(struct tcp_connection *c); // the application has read
static inline bool tcp_has_unsent(const struct tcp_connection *c) {
    return c->snd.nxt != c->snd.end + c->snd.fin;
}
static inline bool tcp_synchronized(const struct tcp_connection *c) {
    return c->state != TCP_CLOSE && c->state != TCP_LISTEN && c->state != TCP_SYN_SENT &&
           c->state != TCP_SYN_RECV;
}

// tcp_timers.c
void tcp_timer_init(struct tcp_connection *c);
void tcp_timer_set(struct tcp_connection *c, enum tcp_timer which, u64 deadline);
static inline void tcp_timer_clear(struct tcp_connection *c, enum tcp_timer which) {
    c->deadlines[which] = NEVER; // comes up too early, once
}
u64 tcp_timeout(const struct tcp_connection *c);     // the RTO with its back-off, nanoseconds
void tcp_retransmit_later(struct tcp_connection *c); // the timer, from now
void tcp_rtt_sample(struct tcp_connection *c, u32 microseconds);
void tcp_keep_alive(struct tcp_connection *c); // as the socket's option is now

// tcp_congestion.c
void tcp_congestion_init(struct tcp_connection *c);
u32 tcp_pipe(const struct tcp_connection *c); // bytes thought to be on their way (RFC 6675)
void tcp_congestion_ack(struct tcp_connection *c, u32 acked);
void tcp_congestion_duplicate(struct tcp_connection *c, bool duplicate);
void tcp_congestion_timeout(struct tcp_connection *c);
void tcp_congestion_too_large(struct tcp_connection *c); // what was sent, for the path
void tcp_congestion_rest(struct tcp_connection *c);

// tcp_options.c
int tcp_set_option(struct socket *socket, int level, int name, const void *value, socklen_t size);
int tcp_get_option(struct socket *socket, int level, int name, void *value, socklen_t *size);

// tcp_socket.c
u32 tcp_send_limit(const struct tcp_connection *c); // bytes its ring may hold
u32 tcp_readable_bytes(const struct tcp_connection *c);
