// Stand-ins for the transport protocols, where a test is about the layers below: what comes for
// them is dropped.

#include "network/layers.h"

void tcp_receive(struct packet *packet) {
    packet_free(packet);
}
void tcp_error(const struct ipv4_header *sent, const u8 *transport, int error, u32 mtu) {
    (void)sent, (void)transport, (void)error, (void)mtu;
}
void tcp_address_gone(ipv4_address address) {
    (void)address;
}
void udp_receive(struct packet *packet) {
    packet_free(packet);
}
void udp_error(const struct ipv4_header *sent, const u8 *transport, int error) {
    (void)sent, (void)transport, (void)error;
}
