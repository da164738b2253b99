// The one terminal: its state, shared by tty.c (bytes) and tty_control.c (ioctl, signals).
#pragma once

#include <sys/ioctl.h>
#include <termios.h>

#include "poll.h"

// struct termios as the system call has it (asm-generic/termbits.h); libc's is longer.
struct kernel_termios {
    u32 input, output, control, local;
    u8 line;
    u8 characters[19];
};

struct tty {
    struct kernel_termios termios;
    struct winsize window;
    struct spinlock lock; // the buffer
    struct poll_source input;
};
extern struct tty tty;

size_t tty_available(void);
void tty_flush(void);
void tty_mode_changed(void);
void tty_signal(int signal);
long tty_ioctl(struct file *file, unsigned command, u64 argument);
