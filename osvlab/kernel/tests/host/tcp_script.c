// See tcp_script.h.

#include "tcp_script.h"

#include <netinet/in.h>

struct script script;
struct tcp_segment heard;
u8 heard_data[70000];
u16 heard_to, heard_from;
static u32 read_position, write_position;

void peer_is_known(void) {
    u8 frame[64];

    shim_arrive(frame, shim_arp(frame, 1, shim_peer_mac, PEER, US));
    shim_forget_sent();
}

void script_begin(void) {
    static bool started;

    if (!started) {
        shim_start();
        shim_card_start(US, "255.255.255.0", PEER);
        started = true;
    }
    peer_is_known();
    static u16 port = 1000;
    script = (struct script){
        .our_port = 80, .peer_port = ++port, .peer_iss = 0xfffffff0, .window = 65535};
    read_position = write_position = 1;
}

void option(const void *bytes, size_t size) {
    memcpy(script.options + script.option_size, bytes, size);
    script.option_size += (u32)size;
}

void option_mss(u16 mss) {
    u8 bytes[] = {TCPOPT_MAXSEG, 4, (u8)(mss >> 8), (u8)mss};
    option(bytes, sizeof(bytes));
}

void option_scale(u8 shift) {
    u8 bytes[] = {TCPOPT_NOP, TCPOPT_WINDOW, 3, shift};
    option(bytes, sizeof(bytes));
}

void option_sack_permitted(void) {
    option("\1\1\4\2", 4);
}

static void option_words(const char *start, u32 a, u32 b) {
    option(start, 4);
    a = swap32(a);
    b = swap32(b);
    option(&a, 4);
    option(&b, 4);
}

void option_sack(u32 start, u32 end) {
    option_words("\1\1\5\12", script.our_iss + start, script.our_iss + end);
}

u8 stream_byte(u32 sequence) {
    return (u8)(sequence * 7);
}

void peer_says(u8 flags, u32 sequence, u32 acknowledgement, u32 length) {
    static u8 segment[70000], frame[70100];

    if (script.timestamps)
        option_words("\1\1\10\12", script.stamp, script.echo);
    u32 size = TCP_HEADER + script.option_size;
    struct tcp_header header = {
        .source = swap16(script.peer_port),
        .destination = swap16(script.our_port),
        .sequence = swap32(script.peer_iss + sequence),
        .acknowledgement = flags & A ? swap32(script.our_iss + acknowledgement) : 0,
        .offset = (u8)(size / 4 << 4),
        .flags = flags,
        .window = swap16(script.window),
    };
    memcpy(segment, &header, TCP_HEADER);
    memcpy(segment + TCP_HEADER, script.options, script.option_size);
    for (u32 i = 0; i < length; i++)
        segment[size + i] = stream_byte(sequence + i);
    u64 sum = checksum_pseudo_header(shim_address(PEER), shim_address(US), IP_TCP, size + length);
    header.checksum = checksum_finish(checksum_add(sum, segment, size + length));
    memcpy(segment, &header, TCP_HEADER);
    script.option_size = 0;
    shim_arrive(frame, shim_ipv4(frame, PEER, US, IP_TCP, 0, segment, size + length));
}

// --- Hearing ---

static void take_frame(const struct shim_frame *frame) {
    const struct ipv4_header *ip = (const void *)(frame->bytes + 14);
    size_t size = swap16(ip->total_length) - IPV4_HEADER;
    struct packet *packet = packet_allocate(size);

    CHECK(frame->size, 14 + IPV4_HEADER + size);
    CHECK(size + IPV4_HEADER <= shim_card.mtu, true);
    memcpy(packet_put(packet, size), ip + 1, size);
    packet->source = ip->source;
    packet->destination = ip->destination;
    const struct tcp_header *header = (const void *)packet->data;
    heard_from = swap16(header->source);
    heard_to = swap16(header->destination);
    u64 sum = checksum_pseudo_header(ip->source, ip->destination, IP_TCP, size);
    CHECK(checksum_finish(checksum_add(sum, packet->data, size)), 0);
    CHECK(tcp_parse(packet, &heard), true);
    memcpy(heard_data, heard.data, heard.length);
    packet_free(packet);
}

static bool is_arp(const struct shim_frame *frame) {
    return frame->bytes[12] == 8 && frame->bytes[13] == 6;
}

bool hear(void) {
    for (;;) {
        struct shim_frame *frame = shim_next_sent();
        if (!frame)
            return false;
        bool arp = is_arp(frame);
        if (arp) { // where is the peer?
            u8 answer[64];
            shim_arrive(answer, shim_arp(answer, 2, shim_peer_mac, PEER, US));
        } else {
            take_frame(frame);
        }
        free(frame);
        if (!arp)
            return true;
    }
}

static void show(const char *file, int line, const char *what, u8 flags, u32 sequence,
                 u32 acknowledgement, u32 length) {
    fprintf(stderr, "%s:%d: %s flags %02x, %u+%u, ack %u\n", file, line, what, flags, sequence,
            length, acknowledgement);
}

void we_say_at(const char *file, int line, u8 flags, u32 sequence, u32 acknowledgement,
               u32 length) {
    bool said = hear();
    u32 at = heard.sequence - script.our_iss;
    u32 ack = heard.flags & A ? heard.acknowledgement - script.peer_iss : 0;

    if (said && (heard.flags & ~P) == flags && at == sequence && ack == acknowledgement &&
        heard.length == length) {
        for (u32 i = 0; i < length; i++)
            CHECK(heard_data[i], stream_byte(sequence + i));
        return;
    }
    show(file, line, "expected", flags, sequence, acknowledgement, length);
    if (said)
        show(file, line, "but it was", heard.flags, at, ack, heard.length);
    else
        show(file, line, "but there was nothing", 0, 0, 0, 0);
    exit(1);
}

void we_are_silent_at(const char *file, int line) {
    if (!hear())
        return;
    show(file, line, "nothing expected, but", heard.flags, heard.sequence - script.our_iss,
         heard.acknowledgement - script.peer_iss, heard.length);
    exit(1);
}

void pass(u64 nanoseconds) {
    shim_advance(shim_time + nanoseconds);
}

void silent_until_at(const char *file, int line, u64 when) {
    shim_advance(when - 1);
    we_are_silent_at(file, line);
    shim_advance(when);
}

// --- Beginnings ---

static void offer(bool plain) {
    option_mss(1460);
    script.timestamps = !plain;
    if (plain)
        return;
    option_sack_permitted();
    option_scale(7);
    script.stamp = 5000;
}

struct socket *open_to_peer(bool plain) {
    struct socket *socket = shim_socket();

    CHECK(shim_connect(socket, PEER, script.peer_port), -EINPROGRESS);
    CHECK(hear(), true);
    CHECK(heard.flags, S);
    CHECK(heard.mss, 1460);
    CHECK(heard.has_scale && heard.may_sack && heard.has_timestamp, true);
    CHECK(heard.scale, TCP_WINDOW_SHIFT);
    CHECK(heard.window, 65535);
    CHECK(shim_poll(socket), 0);
    script.our_iss = heard.sequence;
    script.our_port = heard_from;
    script.echo = heard.timestamp;
    offer(plain);
    peer_says(S | A, 0, 1, 0);
    we_say(A, 1, 1, 0);
    CHECK(state_of(socket), TCP_ESTABLISHED);
    CHECK(shim_poll(socket) & (POLLIN | POLLOUT | POLLHUP), POLLOUT);
    return socket;
}

struct socket *open_from_peer(struct socket *listener, bool plain) {
    offer(plain);
    script.echo = 0;
    peer_says(S, 0, 0, 0);
    CHECK(hear(), true);
    CHECK(heard.flags, S | A);
    CHECK(heard.acknowledgement, script.peer_iss + 1);
    CHECK(heard.mss, 1460);
    CHECK(heard.has_scale || heard.may_sack || heard.has_timestamp, !plain);
    script.our_iss = heard.sequence;
    script.echo = heard.timestamp;
    CHECK(shim_poll(listener), 0);
    peer_says(A, 1, 1, 0);
    CHECK(shim_poll(listener) & POLLIN, POLLIN);
    struct socket *socket = shim_accept(listener);
    CHECK(state_of(socket), TCP_ESTABLISHED);
    we_are_silent();
    return socket;
}

void write_bytes(struct socket *socket, size_t size) {
    static u8 bytes[300000];

    for (size_t i = 0; i < size; i++)
        bytes[i] = stream_byte(write_position + (u32)i);
    CHECK(shim_send(socket, bytes, size, 0), size);
    write_position += (u32)size;
}

void read_bytes(struct socket *socket, size_t size) {
    static u8 bytes[300000];

    CHECK(shim_receive(socket, bytes, size, 0), size);
    for (size_t i = 0; i < size; i++)
        CHECK(bytes[i], stream_byte(read_position + (u32)i));
    read_position += (u32)size;
}

int state_of(struct socket *socket) {
    return shim_connection(socket)->state;
}

void nothing_left(void) {
    CHECK(tcp_connection_count, 0);
    CHECK(tcp_orphan_count + tcp_time_wait_count, 0);
    CHECK(tcp_rings_pages(), 0);
    pass(SECOND); // the pool goes
    CHECK(shim_pages, 0);
    shim_forget_sent();
    CHECK(packets_in_use(), 0);
}
