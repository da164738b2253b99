// Options of TCP sockets (tcp(7)), and TCP_INFO.
//
// An option's value is checked against the bounds of Linux before anything changes. Those of
// SOL_SOCKET are the socket layer's, but for SO_KEEPALIVE, which sets a timer.

#include "tcp.h"

#include <netinet/in.h>

#define KEEP_SECONDS_MOST 32767
#define KEEP_PROBES_MOST 127

static int set_within(u16 *field, int value, int least, int most) {
    if (value < least || value > most)
        return -EINVAL;
    *field = (u16)value;
    return 0;
}

static int set_small(u8 *field, int value, int most) {
    if (value < 1 || value > most)
        return -EINVAL;
    *field = (u8)value;
    return 0;
}

static int set_user_timeout(struct tcp_connection *c, int milliseconds) {
    if (milliseconds < 0)
        return -EINVAL;
    c->user_timeout = (u32)milliseconds;
    return 0;
}

static int set_mss(struct tcp_connection *c, int value) {
    int status = value == 0 ? 0 : set_within(&c->mss_user, value, TCP_MSS_LEAST + 40, 32767);

    if (value == 0)
        c->mss_user = 0;
    return status;
}

static int set(struct tcp_connection *c, int name, int value) {
    switch (name) {
    case TCP_NODELAY:
        c->no_delay = value != 0;
        return 0;
    case TCP_CORK:
        c->cork = value != 0;
        return 0;
    case TCP_QUICKACK:
        c->rcv.quick = value ? 16 : 0;
        c->ack_now |= value && c->rcv.nxt != c->rcv.acked && tcp_synchronized(c);
        return 0;
    case TCP_MAXSEG:
        return set_mss(c, value);
    case TCP_KEEPIDLE:
        return set_within(&c->keep_idle, value, 1, KEEP_SECONDS_MOST);
    case TCP_KEEPINTVL:
        return set_within(&c->keep_interval, value, 1, KEEP_SECONDS_MOST);
    case TCP_KEEPCNT:
        return set_small(&c->keep_count, value, KEEP_PROBES_MOST);
    case TCP_SYNCNT:
        return set_small(&c->syn_retries, value, KEEP_PROBES_MOST);
    case TCP_USER_TIMEOUT:
        return set_user_timeout(c, value);
    case TCP_LINGER2:
        c->fin_timeout = MAX(MIN(value, 120), 0);
        return 0;
    }
    return -ENOPROTOOPT;
}

int tcp_set_option(struct socket *socket, int level, int name, const void *value, socklen_t size) {
    struct tcp_connection *c = socket->connection;
    int number;

    if (level != IPPROTO_TCP && (level != SOL_SOCKET || name != SO_KEEPALIVE))
        return -ENOPROTOOPT;
    if (size < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    if (level == SOL_SOCKET) {
        socket->keep_alive = number != 0;
        tcp_keep_alive(c);
        return 0;
    }
    int status = set(c, name, number);
    if (status < 0)
        return status;
    if (name == TCP_KEEPIDLE)
        tcp_keep_alive(c);
    tcp_settle(c); // what was held back may go
    return 0;
}

static int congestion_state(const struct tcp_connection *c) {
    switch (c->congestion.phase) {
    case PHASE_RECOVERY:
        return TCP_CA_Recovery;
    case PHASE_LOSS:
        return TCP_CA_Loss;
    }
    return c->congestion.duplicates || c->snd.sacked ? TCP_CA_Disorder : TCP_CA_Open;
}

static u32 milliseconds_since(u64 when) {
    return (u32)((network_now() - when) / MILLISECOND);
}

static struct tcp_info info(const struct tcp_connection *c) {
    u32 mss = MAX(c->mss, 1);

    return (struct tcp_info){
        .tcpi_state = c->state,
        .tcpi_ca_state = (u8)congestion_state(c),
        .tcpi_retransmits = c->retries,
        .tcpi_probes = c->keep_probes,
        .tcpi_backoff = c->backoff,
        .tcpi_options = (u8)(c->timestamps * TCPI_OPT_TIMESTAMPS | c->sack * TCPI_OPT_SACK |
                             (c->rcv.scale > 0) * TCPI_OPT_WSCALE),
        .tcpi_snd_wscale = c->snd.scale & 15,
        .tcpi_rcv_wscale = c->rcv.scale & 15,
        .tcpi_rto = c->rtt.timeout,
        .tcpi_ato = 40000,
        .tcpi_snd_mss = c->mss,
        .tcpi_rcv_mss = c->rcv.segment,
        .tcpi_unacked = (c->snd.nxt - c->snd.una + mss - 1) / mss,
        .tcpi_sacked = c->snd.sacked ? c->snd.sacked->bytes / mss : c->congestion.duplicates,
        .tcpi_last_data_sent = milliseconds_since(c->snd.last),
        .tcpi_last_data_recv = milliseconds_since(c->rcv.last),
        .tcpi_last_ack_recv = milliseconds_since(c->rcv.last),
        .tcpi_pmtu = c->interface ? c->interface->mtu : 0,
        .tcpi_rtt = c->rtt.smoothed,
        .tcpi_rttvar = c->rtt.variation,
        .tcpi_snd_ssthresh = c->congestion.threshold / mss,
        .tcpi_snd_cwnd = c->congestion.window / mss,
        .tcpi_advmss = c->mss,
        .tcpi_reordering = 3,
        .tcpi_rcv_space = c->rcv.limit,
        .tcpi_total_retrans = c->snd.again_total,
    };
}

static int get(const struct tcp_connection *c, int name) {
    switch (name) {
    case TCP_NODELAY:
        return c->no_delay;
    case TCP_CORK:
        return c->cork;
    case TCP_QUICKACK:
        return c->rcv.quick > 0;
    case TCP_MAXSEG:
        return c->mss ? c->mss : c->mss_user ? c->mss_user : (int)TCP_MSS_DEFAULT;
    case TCP_KEEPIDLE:
        return c->keep_idle;
    case TCP_KEEPINTVL:
        return c->keep_interval;
    case TCP_KEEPCNT:
        return c->keep_count;
    case TCP_SYNCNT:
        return c->syn_retries;
    case TCP_USER_TIMEOUT:
        return (int)c->user_timeout;
    case TCP_LINGER2:
        return c->fin_timeout ? c->fin_timeout : 60;
    }
    return -ENOPROTOOPT;
}

static int answer(const void *from, size_t length, void *value, socklen_t *size) {
    *size = (socklen_t)MIN((size_t)*size, length);
    memcpy(value, from, *size);
    return 0;
}

int tcp_get_option(struct socket *socket, int level, int name, void *value, socklen_t *size) {
    const struct tcp_connection *c = socket->connection;

    if (level != IPPROTO_TCP)
        return -ENOPROTOOPT;
    if (name == TCP_INFO) {
        struct tcp_info filled = info(c);
        return answer(&filled, sizeof(filled), value, size);
    }
    if (name == TCP_CONGESTION)
        return answer("reno", sizeof("reno"), value, size);
    int number = get(c, name);
    return number == -ENOPROTOOPT ? number : answer(&number, sizeof(number), value, size);
}
