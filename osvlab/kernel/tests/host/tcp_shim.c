// See tcp_shim.h.

#include "tcp_shim.h"

#include <netinet/in.h>

// --- Memory ---

unsigned shim_memory_fails, shim_packets_fail;
size_t shim_pages, shim_objects;

static bool happens(unsigned chance) {
    return chance && shim_pick(1000) < chance;
}

static bool fails(void) {
    return happens(shim_memory_fails);
}

void *pages_allocate(size_t count) {
    if (fails())
        return NULL;
    shim_pages += count;
    void *pages = aligned_alloc(PAGE_SIZE, count * PAGE_SIZE);
    memset(pages, 0xcc, count * PAGE_SIZE);
    return pages;
}

void pages_free(void *address, size_t count) {
    shim_pages -= count;
    free(address);
}

void memory_statistics(struct memory_statistics *out) {
    *out = (struct memory_statistics){.total = 64UL << 20};
}

void *__wrap_kzalloc(size_t size);
void __wrap_kfree(void *object);
struct packet *__wrap_packet_allocate(size_t size);
struct packet *__real_packet_allocate(size_t size);

void *__wrap_kzalloc(size_t size) {
    if (fails())
        return NULL;
    shim_objects++;
    return calloc(1, size);
}

void __wrap_kfree(void *object) {
    shim_objects -= object != NULL;
    free(object);
}

struct packet *__wrap_packet_allocate(size_t size) {
    return happens(shim_packets_fail) ? NULL : __real_packet_allocate(size);
}

int user_write(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
    return 0;
}

// --- What is beside TCP ---

void udp_receive(struct packet *packet) {
    packet_free(packet);
}

void udp_error(const struct ipv4_header *sent, const u8 *transport, int error) {
    (void)sent, (void)transport, (void)error;
}

// --- The socket layer ---

struct socket *socket_new(const struct protocol *protocol) {
    struct socket *socket = kzalloc(sizeof(*socket));

    if (!socket)
        return NULL;
    socket->protocol = protocol;
    socket->receive_low = 1;
    return socket;
}

void socket_free(struct socket *socket) {
    kfree(socket);
}

void socket_readable(struct socket *socket) {
    CHECK(socket->connection != NULL, true);
    socket->protocol->poll(socket); // as the socket layer does: it may look at everything
}

void socket_writable(struct socket *socket) {
    socket_readable(socket);
}

void socket_fail(struct socket *socket, int error) {
    if (socket)
        socket->error = error;
}

static int move(struct message *m, u8 *kernel, size_t size, bool in) {
    size_t skip = m->done;
    const struct iovec *piece = m->pieces;

    while (size > 0) {
        while (skip >= piece->iov_len)
            skip -= piece++->iov_len;
        size_t length = MIN(size, piece->iov_len - skip);
        u8 *user = (u8 *)piece->iov_base + skip;
        memcpy(in ? kernel : user, in ? user : kernel, length);
        skip += length;
        m->done += length;
        kernel += length;
        size -= length;
    }
    return 0;
}

int message_read(struct message *message, void *to, size_t size) {
    return move(message, to, size, true);
}

int message_write(struct message *message, const void *from, size_t size) {
    return move(message, (u8 *)from, size, false);
}

// --- Short words for tests ---

struct socket *shim_socket(void) {
    struct socket *socket = socket_new(&tcp_protocol);

    if (socket && tcp_protocol.create(socket) < 0) {
        socket_free(socket);
        return NULL;
    }
    return socket;
}

void shim_close(struct socket *socket) {
    tcp_protocol.close(socket);
    CHECK(socket->connection == NULL, true);
    socket_free(socket);
}

static struct sockaddr_in address_of(const char *address, unsigned port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = swap16((u16)port),
                                .sin_addr.s_addr = shim_address(address)};
}

int shim_bind(struct socket *socket, const char *address, unsigned port) {
    struct sockaddr_in in = address_of(address, port);
    return tcp_protocol.bind(socket, (struct sockaddr *)&in, sizeof(in));
}

int shim_connect(struct socket *socket, const char *address, unsigned port) {
    struct sockaddr_in in = address_of(address, port);
    return tcp_protocol.connect(socket, (struct sockaddr *)&in, sizeof(in));
}

struct socket *shim_listener(const char *address, unsigned port, int backlog) {
    struct socket *socket = shim_socket();

    socket->reuse_address = true;
    CHECK(shim_bind(socket, address, port), 0);
    CHECK(tcp_protocol.listen(socket, backlog), 0);
    return socket;
}

struct socket *shim_accept(struct socket *listener) {
    struct socket *made = NULL;
    int status = tcp_protocol.accept(listener, &made);

    if (status != -ENOMEM)
        CHECK(status, made ? 0 : -EAGAIN);
    return made;
}

long shim_send(struct socket *socket, const void *bytes, size_t size, int flags) {
    struct iovec piece = {(void *)bytes, size};
    struct message message = {.pieces = &piece, .count = 1, .size = size, .flags = flags};
    return tcp_protocol.send(socket, &message);
}

long shim_receive(struct socket *socket, void *bytes, size_t size, int flags) {
    struct iovec piece = {bytes, size};
    struct message message = {.pieces = &piece, .count = 1, .size = size, .flags = flags};
    return tcp_protocol.receive(socket, &message);
}

unsigned shim_poll(struct socket *socket) {
    return tcp_protocol.poll(socket);
}

int shim_error(struct socket *socket) {
    int error = socket->error;
    socket->error = 0;
    return error;
}

void shim_option(struct socket *socket, int name, int value) {
    CHECK(tcp_protocol.set_option(socket, IPPROTO_TCP, name, &value, sizeof(value)), 0);
}

struct tcp_connection *shim_connection(struct socket *socket) {
    return socket->connection;
}

static bool in_order(u32 a, u32 b) {
    return !tcp_before(b, a);
}

static void check_ranges(const struct tcp_ranges *r, u32 low, u32 high) {
    u32 bytes = 0;

    for (u32 i = 0; r && i < r->count; i++) {
        CHECK(tcp_before(low, r->at[i].start), true);
        CHECK(tcp_before(r->at[i].start, r->at[i].end), true);
        low = r->at[i].end;
        bytes += r->at[i].end - r->at[i].start;
    }
    CHECK(in_order(low, high), true);
    CHECK(r ? r->bytes : 0, bytes);
    CHECK(!r || r->count, true);
}

static bool check(struct tcp_connection *c, void *unused) {
    (void)unused;
    if (c->state == TCP_LISTEN || c->state == TCP_CLOSE)
        return false;
    CHECK(in_order(c->snd.una, c->snd.nxt) && in_order(c->snd.nxt, c->snd.end + c->snd.fin), true);
    check_ranges(c->snd.sacked, c->snd.una, c->snd.nxt);
    CHECK(in_order(c->snd.lost, c->snd.nxt) && in_order(c->snd.again, c->snd.nxt), true);
    if (c->snd.una != c->snd.nxt && c->state != TCP_TIME_WAIT)
        CHECK(c->deadlines[TIMER_RETRANSMIT] != NEVER, true);
    for (int i = 0; i < TCP_TIMERS; i++)
        CHECK(c->timer.deadline <= c->deadlines[i], true);
    if (c->state == TCP_SYN_SENT)
        return false;
    CHECK(c->mss > 0 && c->congestion.window >= c->mss, true);
    CHECK(in_order(c->rcv.read, c->rcv.nxt) && in_order(c->rcv.nxt, c->rcv.adv), true);
    CHECK(c->rcv.adv - c->rcv.read <= TCP_RING_MOST + 1, true);
    check_ranges(c->rcv.early, c->rcv.nxt, c->rcv.adv);
    return false;
}

void shim_check_all(void) {
    tcp_each(check, NULL);
}

struct tcp_info shim_info(struct socket *socket) {
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);

    CHECK(tcp_protocol.get_option(socket, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info;
}

// --- The line ---

struct shim_link shim_line;
static u64 line_free[2]; // when the last byte so far has left, by direction
static struct interface *line;

struct flight {
    struct network_timer timer;
    struct list link;
    struct packet *packet;
};
static struct list flights = LIST(flights);

static void arrive(struct network_timer *timer) {
    struct flight *flight = CONTAINER_OF(timer, struct flight, timer);
    struct packet *packet = flight->packet;

    list_remove(&flight->link);
    free(flight);
    shim_line.carried++;
    interface_receive(line, packet);
}

static struct packet *copy_of(const struct packet *packet) {
    struct packet *copy = __real_packet_allocate(packet->length);
    memcpy(packet_put(copy, packet->length), packet->data, packet->length);
    return copy;
}

static void fly(const struct packet *packet, u64 at) {
    struct flight *flight = calloc(1, sizeof(*flight));

    flight->packet = copy_of(packet); // exactly its size
    if (shim_pick(1000) < shim_line.damaged)
        flight->packet->data[shim_pick(packet->length)] ^= (u8)(1 << shim_pick(8));
    list_append(&flights, &flight->link);
    network_timer_init(&flight->timer, arrive);
    CHECK(network_timer_set(&flight->timer, at), 0);
}

static u64 delay(void) {
    return shim_line.delay + (shim_line.jitter ? shim_pick((unsigned)shim_line.jitter) : 0);
}

// A full duplex line: towards the higher port, and towards the lower.
static u64 *direction_of(const struct packet *packet) {
    return &line_free[memcmp(packet->data + IPV4_HEADER, packet->data + IPV4_HEADER + 2, 2) < 0];
}

static int line_transmit(struct interface *interface, struct packet *packet) {
    u64 *free_at = direction_of(packet), start = MAX(*free_at, shim_time);
    size_t waiting = (size_t)((start - shim_time) * shim_line.rate / SECOND);

    CHECK(packet->length <= interface->mtu, true);
    if (shim_line.cut || shim_pick(1000) < shim_line.lost ||
        (shim_line.queue && waiting > shim_line.queue)) {
        shim_line.dropped++;
    } else {
        if (shim_line.rate)
            *free_at = start += packet->length * SECOND / shim_line.rate;
        fly(packet, start + delay());
        if (shim_pick(1000) < shim_line.doubled)
            fly(packet, start + delay());
    }
    packet_free(packet);
    return 0;
}

static void nothing(struct interface *interface) {
    (void)interface;
}

void shim_link_start(u32 mtu) {
    line = interface_find("lo");
    line->mtu = mtu;
    line->sends_checksums = false;
    line->transmit = line_transmit;
    line->flush = line->poll = nothing;
    line_free[0] = line_free[1] = 0;
}

void shim_link_empty(void) {
    struct flight *flight;

    while ((flight = LIST_FIRST(&flights, struct flight, link))) {
        network_timer_cancel(&flight->timer);
        list_remove(&flight->link);
        packet_free(flight->packet);
        free(flight);
    }
    line_free[0] = line_free[1] = 0;
}

bool shim_next_event(void) {
    u64 next = network_timers_next();

    if (next == NEVER)
        return false;
    shim_time = MAX(shim_time, next);
    network_timers_run(shim_time);
    return true;
}
