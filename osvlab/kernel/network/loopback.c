// The loopback interface: what is sent by it is received by it, in the next turn of the network
// thread, so that no protocol is ever called from within itself.
//
// Nothing can damage a packet on the way, so nobody computes checksums for it. Invariant: at most
// QUEUE_MOST packets wait.

#include <net/if.h>

#include "layers.h"
#include "memory.h"
#include "network.h"

#define LOOPBACK_MTU 65535
#define QUEUE_MOST 1024

static struct list queue = LIST(queue);
static unsigned waiting;

static int loopback_transmit(struct interface *interface, struct packet *packet) {
    (void)interface;
    if (waiting == QUEUE_MOST) {
        packet_free(packet);
        return -ENOBUFS;
    }
    packet->checksum_partial = false;
    packet->checksum_good = true;
    list_append(&queue, &packet->link);
    waiting++;
    return 0;
}

static void loopback_flush(struct interface *interface) {
    (void)interface;
    network_wake();
}

// Only what was there at the start: answers wait for the next turn.
static void loopback_poll(struct interface *interface) {
    for (unsigned n = waiting; n > 0; n--) {
        struct packet *packet = LIST_FIRST(&queue, struct packet, link);
        list_remove(&packet->link);
        waiting--;
        interface_receive(interface, packet);
    }
}

int loopback_start(void) {
    struct interface *lo = kzalloc(sizeof(*lo));

    if (!lo)
        return -ENOMEM;
    *lo = (struct interface){
        .name = "lo",
        .mtu = LOOPBACK_MTU,
        .flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK,
        .address = swap32(0x7f000001),
        .netmask = swap32(0xff000000),
        .sends_checksums = true,
        .transmit = loopback_transmit,
        .flush = loopback_flush,
        .poll = loopback_poll,
    };
    interface_register(lo);
    return 0;
}
