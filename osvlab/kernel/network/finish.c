// The end of the machine: what closed connections have still to say is said first, as close(2)
// promises. Who does not acknowledge within PATIENCE does not keep the machine from ending.

#include "tcp.h"

#include "clock.h"
#include "lock.h"
#include "network.h"

#define PATIENCE (2 * SECOND)

static bool is_undelivered(struct tcp_connection *c, void *found) {
    bool waits = c->orphan &&
                 (c->state == TCP_FIN_WAIT1 || c->state == TCP_CLOSING || c->state == TCP_LAST_ACK);

    *(bool *)found |= waits;
    return waits;
}

static bool something_undelivered(void) {
    bool found = false;

    network_lock();
    tcp_each(is_undelivered, &found);
    network_unlock();
    return found;
}

void network_finish(void) {
    static struct wait_queue delivery = WAIT_QUEUE(delivery, "delivery");
    u64 end = clock_monotonic() + PATIENCE;

    // Nothing else happens any more, so looking every millisecond is no burden.
    while (tcp_orphan_count > 0 && clock_monotonic() < end && something_undelivered())
        WAIT_FOR(&delivery, false, clock_monotonic() + MILLISECOND, false);
}
