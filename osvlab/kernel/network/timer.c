// The network's timers: a binary heap ordered by time (Williams 1964), with lazy re-arming.
//
// Nearly every timer of TCP is set again before it fires, mostly to a later time. So the heap
// orders by `when`, a time that is never later than the timer's deadline: moving a deadline back
// leaves the heap alone, and what comes up too early is put where it belongs by then.
//
// Invariant: a timer's slot is its place in the heap (from 1) or 0; parents are not later than
// their children; heap[slot].when <= heap[slot].timer->deadline.

#include <string.h>

#include "memory.h"
#include "network.h"

struct place {
    u64 when;
    struct network_timer *timer;
};

static struct place *heap; // heap[0] is not used
static size_t count, room;

static void put(size_t slot, struct place place) {
    heap[slot] = place;
    place.timer->slot = slot;
}

static void sift_up(size_t slot, struct place place) {
    for (; slot > 1 && heap[slot / 2].when > place.when; slot /= 2)
        put(slot, heap[slot / 2]);
    put(slot, place);
}

static void sift_down(size_t slot, struct place place) {
    for (;;) {
        size_t child = 2 * slot;
        if (child < count && heap[child + 1].when < heap[child].when)
            child++;
        if (child > count || heap[child].when >= place.when)
            break;
        put(slot, heap[child]);
        slot = child;
    }
    put(slot, place);
}

// After many connections, when few are left.
static void give_room_back(void) {
    size_t smaller = room / 2;
    struct place *shrunk = room > 64 && count < room / 4 ? kzalloc(smaller * sizeof(*heap)) : NULL;

    if (!shrunk)
        return;
    memcpy(shrunk, heap, (count + 1) * sizeof(*heap));
    kfree(heap);
    heap = shrunk;
    room = smaller;
}

static void take_out(struct network_timer *timer) {
    size_t slot = timer->slot;
    struct place last = heap[count--];

    timer->slot = 0;
    if (last.timer != timer && slot > 1 && heap[slot / 2].when > last.when)
        sift_up(slot, last);
    else if (last.timer != timer)
        sift_down(slot, last);
    give_room_back();
}

void network_timer_init(struct network_timer *timer, void (*function)(struct network_timer *)) {
    *timer = (struct network_timer){.function = function, .deadline = NEVER};
}

static int make_room(void) {
    size_t larger = room ? 2 * room : 32;

    if (count + 1 < room)
        return 0;
    struct place *grown = krealloc(heap, larger * sizeof(*heap));
    if (!grown)
        return -ENOMEM;
    heap = grown;
    room = larger;
    return 0;
}

int network_timer_set(struct network_timer *timer, u64 deadline) {
    if (timer->slot) {
        timer->deadline = deadline;
        if (deadline < heap[timer->slot].when)
            sift_up(timer->slot, (struct place){deadline, timer});
        return 0;
    }
    if (deadline == NEVER)
        return 0;
    if (make_room() < 0)
        return -ENOMEM;
    timer->deadline = deadline;
    count++;
    sift_up(count, (struct place){deadline, timer});
    return 0;
}

void network_timer_cancel(struct network_timer *timer) {
    if (timer->slot)
        take_out(timer);
    timer->deadline = NEVER;
}

u64 network_timers_next(void) {
    return count ? heap[1].when : NEVER;
}

u64 network_timers_run(u64 now) {
    while (count && heap[1].when <= now) {
        struct network_timer *timer = heap[1].timer;
        if (timer->deadline > now && timer->deadline != NEVER) {
            sift_down(1, (struct place){timer->deadline, timer});
            continue;
        }
        bool due = timer->deadline <= now;
        network_timer_cancel(timer);
        if (due)
            timer->function(timer);
    }
    return network_timers_next();
}
