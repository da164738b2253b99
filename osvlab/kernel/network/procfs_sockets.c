// Sockets in /proc/net: tcp, udp, unix and sockstat, as Linux's net/ipv4/{tcp_ipv4,udp,proc}.c and
// net/unix/af_unix.c lay them out, so that netstat and ss read them. Not there: inode numbers.

#include "files/procfs.h"

#include <netinet/tcp.h>

#include "network.h"
#include "tcp.h"
#include "udp.h"
#include "unix.h"

#define LINE_LENGTH 149 // Linux pads the lines of tcp to this
#define CLOCK_TICK (SECOND / 100)

enum { PROC_TIMER_NONE, PROC_TIMER_RETRANSMIT, PROC_TIMER_KEEP, PROC_TIMER_TIME_WAIT };

struct listing {
    struct text *text;
    unsigned lines;
};

struct line { // of tcp or udp; addresses as in packets
    ipv4_address local, remote;
    u16 local_port, remote_port;
    u8 state;
    u32 sending, receiving; // bytes
    unsigned timer;
    u64 ticks; // until it fires
    unsigned retries, references;
};

static void add_line(struct listing *listing, const struct line *line) {
    size_t before = listing->text->used;

    text_add(listing->text, "%4u: %08X:%04X %08X:%04X %02X %08X:%08X %02X:%08lX %08X %5u %8u 0 %u",
             listing->lines++, line->local, swap16(line->local_port), line->remote,
             swap16(line->remote_port), line->state, line->sending, line->receiving, line->timer,
             line->ticks, line->retries, 0, 0, line->references);
    while (listing->text->used - before < LINE_LENGTH && !listing->text->no_memory)
        text_add(listing->text, " ");
    text_add(listing->text, "\n");
}

// --- TCP ---

static void describe_timer(const struct tcp_connection *c, struct line *line) {
    const u8 kinds[TCP_TIMERS] = {[TIMER_RETRANSMIT] = PROC_TIMER_RETRANSMIT,
                                  [TIMER_KEEP] = PROC_TIMER_KEEP,
                                  [TIMER_END] = PROC_TIMER_TIME_WAIT};
    u64 now = network_now(), next = NEVER;

    for (size_t i = 0; i < TCP_TIMERS; i++) {
        if (kinds[i] == PROC_TIMER_NONE || c->deadlines[i] >= next)
            continue;
        next = c->deadlines[i];
        line->timer = kinds[i];
        line->ticks = next > now ? (next - now) / CLOCK_TICK : 0;
    }
}

static bool add_connection(struct tcp_connection *c, void *argument) {
    struct line line = {
        .local = c->local,
        .remote = c->remote,
        .local_port = c->local_port,
        .remote_port = c->remote_port,
        .state = c->state,
        .retries = c->retries,
        .references = 1,
    };

    if (c->state == TCP_LISTEN)
        line.receiving = c->listener->ready_count;
    else if (c->hashed) {
        line.sending = c->snd.end - c->snd.una;
        line.receiving = c->rcv.nxt - c->rcv.read;
        describe_timer(c, &line);
    }
    if (c->state == TCP_CLOSE)
        return false; // bound only
    add_line(argument, &line);
    return false;
}

void proc_write_net_tcp(struct text *text, int pid) {
    struct listing listing = {.text = text};

    (void)pid;
    text_add(text, "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt  "
                   " uid  timeout inode                                                     \n");
    network_lock();
    tcp_each(add_connection, &listing);
    network_unlock();
}

// --- UDP ---

static void add_udp(struct udp *udp, void *argument) {
    add_line(argument, &(struct line){
                           .local = udp->address,
                           .remote = udp->peer,
                           .local_port = udp->port,
                           .remote_port = udp->peer_port,
                           .state = udp->peer_port ? TCP_ESTABLISHED : TCP_CLOSE,
                           .receiving = (u32)udp->queued,
                           .references = 2,
                       });
}

void proc_write_net_udp(struct text *text, int pid) {
    struct listing listing = {.text = text};

    (void)pid;
    text_add(text, "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt "
                   "  uid  timeout inode ref pointer drops             \n");
    network_lock();
    udp_each(add_udp, &listing);
    network_unlock();
}

// There is no IPv6, but netstat complains when a table is missing.
void proc_write_net_six(struct text *text, int pid) {
    (void)pid;
    text_add(text,
             "  sl  local_address                         remote_address                        "
             "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n");
}

// --- AF_UNIX ---

enum { SHOWN_UNCONNECTED = 1, SHOWN_CONNECTED = 3, SHOWN_ACCEPTS = 0x10000 };

static void add_unix(struct unix_socket *u, void *argument) {
    struct text *text = argument;
    const char *name = u->name.sun_path;
    size_t size = u->name_size > offsetof(struct sockaddr_un, sun_path)
                      ? u->name_size - offsetof(struct sockaddr_un, sun_path)
                      : 0;

    text_add(text, "0000000000000000: %08X %08X %08X %04X %02X %5u", 2, 0,
             u->listening ? SHOWN_ACCEPTS : 0, u->socket->protocol->type,
             u->peer ? SHOWN_CONNECTED : SHOWN_UNCONNECTED, 0);
    for (size_t i = 0; i < size && (name[i] || !name[0]); i++)
        text_add(text, i ? "%c" : " %c", name[i] ? name[i] : '@');
    text_add(text, "\n");
}

void proc_write_net_unix(struct text *text, int pid) {
    (void)pid;
    text_add(text, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    network_lock();
    unix_each(add_unix, text);
    network_unlock();
}

// --- How many ---

static bool count_open(struct tcp_connection *c, void *argument) {
    *(unsigned *)argument += c->state != TCP_CLOSE && c->state != TCP_TIME_WAIT;
    return false;
}

static void count_udp(struct udp *udp, void *argument) {
    (void)udp;
    ++*(unsigned *)argument;
}

static void count_unix(struct unix_socket *u, void *argument) {
    (void)u;
    ++*(unsigned *)argument;
}

void proc_write_net_sockstat(struct text *text, int pid) {
    unsigned tcp = 0, udp = 0, local = 0;

    (void)pid;
    network_lock();
    tcp_each(count_open, &tcp);
    udp_each(count_udp, &udp);
    unix_each(count_unix, &local);
    text_add(text, "sockets: used %u\nTCP: inuse %u orphan %u tw %u alloc %u mem %lu\n",
             tcp + udp + local, tcp, tcp_orphan_count, tcp_time_wait_count, tcp_connection_count,
             tcp_rings_pages());
    text_add(text, "UDP: inuse %u mem 0\n", udp);
    network_unlock();
}
