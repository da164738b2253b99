// The terminal's settings (ioctl_tty(2)) and the signals its keys send.

#include "tty.h"

#include "syscalls.h"
#include "thread.h"

#define SIGNALLED_MAX 64

struct pids {
    size_t count;
    int pids[SIGNALLED_MAX];
};

static void collect(struct process *process, void *argument) {
    struct pids *found = argument;
    if (process->pid != 1 && !process->dead && found->count < SIGNALLED_MAX)
        found->pids[found->count++] = process->pid;
}

// Ctrl-C goes to every application; the kernel's own process stays.
void tty_signal(int signal) {
    struct pids found = {0};
    processes_each(collect, &found);
    for (size_t i = 0; i < found.count; i++)
        sys_kill(found.pids[i], signal);
}

static long copy_out(u64 user, const void *value, size_t size) {
    return user_write((void *)user, value, size);
}

static long set_termios(u64 user, bool flush) {
    struct kernel_termios termios;
    if (user_read(&termios, (void *)user, sizeof(termios)) < 0)
        return -EFAULT;
    if (flush)
        tty_flush();
    u64 flags = spin_lock(&tty.lock);
    bool changed = (termios.local ^ tty.termios.local) & ICANON;
    tty.termios = termios;
    if (changed)
        tty_mode_changed();
    spin_unlock(&tty.lock, flags);
    poll_notify(&tty.input, POLLIN | POLLRDNORM); // what counts as readable may have changed
    return 0;
}

long tty_ioctl(struct file *file, unsigned command, u64 argument) {
    (void)file;
    int value;
    switch (command) {
    case TCGETS:
        return copy_out(argument, &tty.termios, sizeof(tty.termios));
    case TCSETS:
    case TCSETSW:
        return set_termios(argument, false);
    case TCSETSF:
        return set_termios(argument, true);
    case TIOCGWINSZ:
        return copy_out(argument, &tty.window, sizeof(tty.window));
    case TIOCSWINSZ:
        return user_read(&tty.window, (void *)argument, sizeof(tty.window));
    case TIOCGPGRP: // every process is in the foreground
    case TIOCGSID:
        value = current_process()->pid;
        return copy_out(argument, &value, sizeof(value));
    case FIONREAD:
        value = (int)tty_available();
        return copy_out(argument, &value, sizeof(value));
    case TIOCOUTQ:
        value = 0;
        return copy_out(argument, &value, sizeof(value));
    case TCFLSH:
        if (argument == TCIFLUSH || argument == TCIOFLUSH)
            tty_flush();
        return 0;
    case TIOCSPGRP:
    case TIOCSCTTY:
    case TIOCNOTTY:
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
        return 0;
    default:
        return -ENOTTY;
    }
}
