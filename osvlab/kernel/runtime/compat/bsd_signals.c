// BSD's signal masks: one word for the first 31 signals (sigvec(3), deprecated but used by shells).

#include "compat.h"

#include <signal.h>

static int change(int how, unsigned mask) {
    sigset_t new, old;
    int before = 0;
    sigemptyset(&new);
    for (int signal = 1; signal < 32; signal++)
        if (mask >> (signal - 1) & 1)
            sigaddset(&new, signal);
    if (sigprocmask(how, &new, &old))
        return -1;
    for (int signal = 1; signal < 32; signal++)
        before |= (sigismember(&old, signal) == 1) << (signal - 1);
    return before;
}

EXPORT int sigsetmask(int mask) {
    return change(SIG_SETMASK, (unsigned)mask);
}

EXPORT int sigblock(int mask) {
    return change(SIG_BLOCK, (unsigned)mask);
}

EXPORT int siggetmask(void) {
    return change(SIG_BLOCK, 0);
}
