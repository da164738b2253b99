// Stand-ins for protocols that are not here yet: what comes for them is dropped.

#include "layers.h"

#define ABSENT __attribute__((weak))

ABSENT void tcp_receive(struct packet *packet) {
    packet_free(packet);
}
ABSENT void tcp_error(const struct ipv4_header *sent, const u8 *transport, int error, u32 mtu) {
    (void)sent, (void)transport, (void)error, (void)mtu;
}
ABSENT void tcp_address_gone(ipv4_address address) {
    (void)address;
}
