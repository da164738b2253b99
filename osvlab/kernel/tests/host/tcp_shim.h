// TCP's surroundings on a host: sockets without a socket layer, memory that can run out, and a
// lossy link between the sockets of one stack.
#pragma once

#include "network/tcp.h"

#include "network_shim.h"

// Memory: allocations (pages and objects; packets) fail with this chance in a thousand.
extern unsigned shim_memory_fails, shim_packets_fail;
extern size_t shim_pages, shim_objects; // in use

// What the socket layer was told, per socket, in its `ready` word.
enum { TOLD_READABLE = 1, TOLD_WRITABLE = 2 };

struct socket *shim_socket(void);
void shim_close(struct socket *socket);
int shim_bind(struct socket *socket, const char *address, unsigned port);
int shim_connect(struct socket *socket, const char *address, unsigned port);
struct socket *shim_listener(const char *address, unsigned port, int backlog);
struct socket *shim_accept(struct socket *listener); // NULL: nothing to accept
long shim_send(struct socket *socket, const void *bytes, size_t size, int flags);
long shim_receive(struct socket *socket, void *bytes, size_t size, int flags);
unsigned shim_poll(struct socket *socket);
int shim_error(struct socket *socket);
void shim_option(struct socket *socket, int name, int value);
void shim_check_all(void); // every connection's invariants
struct tcp_connection *shim_connection(struct socket *socket);
struct tcp_info shim_info(struct socket *socket);

// "lo" becomes a line with weather.
struct shim_link {
    u64 delay, jitter;               // nanoseconds; jitter reorders
    u64 rate;                        // bytes per second; 0: any
    size_t queue;                    // bytes that may wait for the line; 0: any
    unsigned lost, doubled, damaged; // in a thousand
    bool cut;                        // nothing goes through
    u64 carried, dropped;            // packets
};
extern struct shim_link shim_line;
void shim_link_start(u32 mtu);
void shim_link_empty(void); // forgets what is on its way
bool shim_next_event(void); // time moves to it, and it happens; false: there is none
