// The frame a signal handler runs on.
#pragma once

#include <signal.h>

#include "arch.h"
#include "scheduler.h"

// Builds it on the application's stack and makes `r` enter the handler. 0 or -EFAULT.
int signal_frame_push(struct registers *r, const struct k_sigaction *action, const siginfo_t *info,
                      u64 mask);

// The way back: reads the frame at the application's stack pointer into `r`. 0 or -EFAULT.
int signal_frame_pop(struct registers *r, u64 *mask);
