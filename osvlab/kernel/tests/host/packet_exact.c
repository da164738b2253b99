// Packets of exactly the size that was asked for, full of junk, so that the sanitizers see every
// byte that is read beyond what came in. In place of network/packet.c.

#include <stdlib.h>
#include <string.h>

#include "network/packet.h"

static size_t in_use;

struct packet *packet_allocate(size_t size) {
    struct packet *packet = malloc(sizeof(*packet) + PACKET_HEADROOM + size);

    memset(packet, 0, sizeof(*packet));
    memset(packet->storage, 0xaa, PACKET_HEADROOM + size);
    list_init(&packet->link);
    packet->capacity = (u32)(PACKET_HEADROOM + size);
    packet->data = packet->storage + PACKET_HEADROOM;
    in_use++;
    return packet;
}

void packet_free(struct packet *packet) {
    in_use--;
    free(packet);
}

size_t packets_in_use(void) {
    return in_use;
}
