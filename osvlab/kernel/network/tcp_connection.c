// The life of a TCP connection: birth, the states in which it ends, TIME_WAIT, death.
//
// Invariant: a connection is freed by tcp_settle only, when it is CLOSED and neither a socket nor
// a listener's queue knows it. What nobody has open any more lives on until its data has arrived,
// within bounds: so many orphans, so many in TIME_WAIT, each with a timer that ends it.

#include "tcp.h"

#include "layers.h"

#define MSL (30 * SECOND) // as on Linux; RFC 9293 has two minutes
#define TIME_WAIT_MOST 1024U
#define ORPHANS_MOST 1024U
#define FIN_TIMEOUT (60 * SECOND)

_Static_assert(sizeof(struct tcp_connection) <= 672, "an idle connection is small");

u32 tcp_connection_count, tcp_orphan_count, tcp_time_wait_count;
static struct list time_wait = LIST(time_wait); // oldest first

// --- Birth ---

void tcp_prepare(struct tcp_connection *c) {
    memset(&c->snd, 0, sizeof(c->snd));
    memset(&c->rcv, 0, sizeof(c->rcv));
    memset(&c->stamp, 0, sizeof(c->stamp));
    memset(&c->rtt, 0, sizeof(c->rtt));
    memset(&c->congestion, 0, sizeof(c->congestion));
    c->timestamps = c->sack = c->read_shut = c->ack_now = false;
    c->retries = c->backoff = c->keep_probes = c->challenges = 0;
    c->soft_error = 0;
    c->challenge_at = 0;
    c->mss_peer = TCP_MSS_DEFAULT;
    c->rtt.timeout = SECOND / TCP_MICROSECONDS; // RFC 6298, section 2.1
    c->rcv.quick = 8;
    c->rcv.limit = 1U << 16;
}

struct tcp_connection *tcp_new(void) {
    struct tcp_connection *c = kzalloc(sizeof(*c));

    if (!c)
        return NULL;
    list_init(&c->link);
    c->state = TCP_CLOSE;
    c->syn_retries = 6;
    c->keep_idle = 7200; // RFC 1122, section 4.2.3.6; the others as on Linux
    c->keep_interval = 75;
    c->keep_count = 9;
    tcp_timer_init(c);
    tcp_prepare(c);
    tcp_connection_count++;
    return c;
}

// Where the peer is, and from which address it is reached.
int tcp_find_path(struct tcp_connection *c) {
    struct route route;
    int status = route_find(c->remote, &route);

    if (status < 0)
        return status;
    c->interface = route.interface;
    if (!c->local)
        c->local = route.source;
    return 0;
}

// The largest segment that our side of the path takes.
u32 tcp_mss_here(const struct tcp_connection *c) {
    u32 headers = TCP_HEADER + IPV4_HEADER, mtu = MAX(c->interface->mtu, headers + TCP_MSS_LEAST);
    u32 mss = MIN(mtu - headers, TCP_MSS_MOST);

    return c->mss_user ? MIN(mss, c->mss_user) : mss;
}

void tcp_set_mss(struct tcp_connection *c) {
    u32 mss = MAX(MIN((u32)c->mss_peer, tcp_mss_here(c)), TCP_MSS_LEAST);

    c->mss = (u16)(mss - (c->timestamps ? TCP_TIMESTAMP_SIZE : 0));
}

// What the peer's SYN says.
void tcp_take_syn(struct tcp_connection *c, const struct tcp_segment *s) {
    c->rcv.irs = s->sequence;
    c->rcv.nxt = c->rcv.read = c->rcv.adv = c->rcv.acked = c->rcv.round_start = s->sequence + 1;
    c->mss_peer = MAX(s->mss ? s->mss : TCP_MSS_DEFAULT, TCP_MSS_LEAST);
    c->snd.scale = s->has_scale ? s->scale : 0;
    c->rcv.scale = s->has_scale ? TCP_WINDOW_SHIFT : 0;
    c->sack = s->may_sack;
    c->timestamps = s->has_timestamp;
    c->stamp.recent = s->has_timestamp ? s->timestamp : 0;
    c->stamp.recent_at = c->rcv.last = network_now();
    c->stamp.last_ack = c->rcv.nxt;
    c->snd.wnd = c->snd.wnd_most = s->window;
    c->snd.wl1 = s->sequence;
    c->snd.wl2 = c->snd.una;
    tcp_set_mss(c);
    tcp_congestion_init(c);
}

void tcp_established(struct tcp_connection *c) {
    c->state = c->snd.fin ? TCP_FIN_WAIT1 : TCP_ESTABLISHED;
    c->retries = c->backoff = 0;
    tcp_timer_clear(c, TIMER_RETRANSMIT);
    tcp_keep_alive(c);
    if (c->listener)
        tcp_listen_ready(c);
    if (c->socket)
        socket_writable(c->socket);
}

// --- The ways to an end ---

void tcp_fin_queue(struct tcp_connection *c) {
    if (c->snd.fin)
        return;
    c->snd.fin = true;
    if (c->state == TCP_ESTABLISHED)
        c->state = TCP_FIN_WAIT1;
    else if (c->state == TCP_CLOSE_WAIT)
        c->state = TCP_LAST_ACK;
}

void tcp_wait_for_fin(struct tcp_connection *c) {
    u64 patience = c->fin_timeout > 0 ? (u64)c->fin_timeout * SECOND : FIN_TIMEOUT;

    tcp_timer_set(c, TIMER_END, network_now() + patience);
}

// The socket goes. What has been written is still delivered.
void tcp_detach(struct tcp_connection *c) {
    c->reuse_address = c->socket->reuse_address;
    c->reuse_port = c->socket->reuse_port;
    c->socket->connection = NULL;
    c->socket = NULL;
    if (c->state == TCP_CLOSE || c->state == TCP_TIME_WAIT)
        return;
    c->orphan = true;
    if (++tcp_orphan_count > ORPHANS_MOST)
        tcp_abort(c, 0);
    else if (c->state == TCP_FIN_WAIT2)
        tcp_wait_for_fin(c);
}

static void no_orphan(struct tcp_connection *c) {
    tcp_orphan_count -= c->orphan;
    c->orphan = false;
}

static void forget_sent(struct tcp_connection *c) {
    tcp_ring_clear(&c->snd.ring);
    tcp_ranges_clear(&c->snd.sacked);
}

// Both sides are done. Whoever closed first waits, so that the last acknowledgement can be said
// again and old segments do not meet a new connection. Too many of them: the oldest is over.
void tcp_time_wait(struct tcp_connection *c) {
    if (c->state != TCP_TIME_WAIT) {
        no_orphan(c);
        c->state = TCP_TIME_WAIT;
        tcp_time_wait_count++;
        list_append(&time_wait, &c->link);
        forget_sent(c);
        for (int i = 0; i < TCP_TIMERS; i++)
            tcp_timer_clear(c, (enum tcp_timer)i);
    }
    tcp_timer_set(c, TIMER_END, network_now() + 2 * MSL);
    if (tcp_time_wait_count > TIME_WAIT_MOST) {
        struct tcp_connection *oldest = LIST_FIRST(&time_wait, struct tcp_connection, link);
        tcp_done(oldest, 0);
        tcp_settle(oldest);
    }
}

static void leave_counts(struct tcp_connection *c) {
    no_orphan(c);
    if (c->state != TCP_TIME_WAIT)
        return;
    tcp_time_wait_count--;
    list_remove(&c->link);
}

void tcp_done(struct tcp_connection *c, int error) {
    if (c->state == TCP_CLOSE)
        return;
    leave_counts(c);
    if (c->state == TCP_LISTEN)
        tcp_unlisten(c);
    else if (c->state == TCP_SYN_RECV && c->listener)
        tcp_listen_leave(c);
    tcp_table_remove(c);
    if (c->bound)
        list_remove(&c->link);
    c->bound = false;
    c->state = TCP_CLOSE;
    forget_sent(c);
    tcp_ranges_clear(&c->rcv.early);
    network_timer_cancel(&c->timer);
    if (error)
        socket_fail(c->socket, error);
    if (c->socket) {
        socket_readable(c->socket);
        socket_writable(c->socket);
    }
    if (c->listener) // dead before it was accepted: accept tells
        c->soft_error = (u16)error;
}

void tcp_abort(struct tcp_connection *c, int error) {
    if (tcp_synchronized(c) && c->state != TCP_TIME_WAIT)
        tcp_transmit(c, c->snd.nxt, TH_RST | TH_ACK, 0);
    else if (c->state == TCP_SYN_RECV)
        tcp_transmit(c, c->snd.iss + 1, TH_RST | TH_ACK, 0);
    tcp_done(c, error);
}

// --- Death ---

void tcp_settle(struct tcp_connection *c) {
    if (c->state != TCP_CLOSE && c->state != TCP_LISTEN)
        tcp_output(c);
    if (c->state != TCP_CLOSE || c->socket || c->listener)
        return;
    network_timer_cancel(&c->timer);
    tcp_ring_clear(&c->rcv.ring);
    if (c->bound)
        list_remove(&c->link);
    kfree(c);
    tcp_connection_count--;
}
