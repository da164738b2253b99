// Conversations with TCP, segment by segment: the test plays the peer, 10.0.2.2, of a stack that is
// 10.0.2.15. Sequence numbers count from each side's own first one.
#pragma once

#include "tcp_shim.h"

enum { F = TH_FIN, S = TH_SYN, R = TH_RST, P = TH_PUSH, A = TH_ACK, U = TH_URG };

#define US "10.0.2.15"
#define PEER "10.0.2.2"

extern struct script {
    u16 our_port, peer_port;
    u32 our_iss, peer_iss;
    u16 window;     // of all that the peer says, as it is in the packet
    u8 options[40]; // of the next thing it says
    u32 option_size;
    bool timestamps; // in everything it says
    u32 stamp, echo; // what they say
} script;

extern struct tcp_segment heard; // the last thing we said; its data is heard_data
extern u8 heard_data[70000];
extern u16 heard_to, heard_from; // its ports

void script_begin(void);  // forgets everything said so far
void peer_is_known(void); // to ARP
void option(const void *bytes, size_t size);
void option_mss(u16 mss);
void option_scale(u8 shift);
void option_sack_permitted(void);
void option_sack(u32 start, u32 end); // relative to our first sequence number

// The peer says; data is the byte stream's: the byte at sequence n has the value n * 7.
void peer_says(u8 flags, u32 sequence, u32 acknowledgement, u32 length);
u8 stream_byte(u32 sequence);
// We must have said exactly this next; PSH does not matter.
#define we_say(flags, sequence, acknowledgement, length) \
    we_say_at(__FILE__, __LINE__, flags, sequence, acknowledgement, length)
void we_say_at(const char *file, int line, u8 flags, u32 sequence, u32 acknowledgement, u32 length);
#define we_are_silent() we_are_silent_at(__FILE__, __LINE__)
void we_are_silent_at(const char *file, int line);
bool hear(void);            // the next thing we have said, into `heard`; false: nothing
void pass(u64 nanoseconds); // time
// Exactly then we say something, and not before.
#define silent_until(when) silent_until_at(__FILE__, __LINE__, when)
void silent_until_at(const char *file, int line, u64 when);

// Established, all options agreed on unless `plain`; what the handshake said is checked.
struct socket *open_to_peer(bool plain);
struct socket *open_from_peer(struct socket *listener, bool plain);
void write_bytes(struct socket *socket, size_t size);
void read_bytes(struct socket *socket, size_t size); // and checks them
int state_of(struct socket *socket);
void nothing_left(void); // no connection, page or packet
