// System calls with arguments that make no sense, by the hundred thousand: none may bring the kernel
// down or keep it for ever. For the guest only. Arguments: a seed, how many, and anything to tell.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

#define ROOM 8192UL
#define CALLS 460
#define LINEAR_MAP_BIT 46 // there all of RAM is mapped, and may be written to: there is one ring

static char *room; // followed by a page that cannot be touched
static unsigned long state;

static unsigned next(unsigned below) { // Knuth's MMIX generator
    state = state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(state >> 33) % below;
}

static unsigned long argument(void) {
    unsigned bit = next(64);

    switch (next(12)) {
    case 0:
        return 0;
    case 1:
        return -1UL;
    case 2:
        return next(16);
    case 3:
        return next(64);
    case 4:
        return (unsigned long)room + next(ROOM);
    case 5:
        return (unsigned long)room;
    case 6:
        return (unsigned long)room + ROOM - next(16);
    case 7:
        return bit == LINEAR_MAP_BIT ? 7 : 1UL << bit;
    case 8:
        return (1UL << 63) - next(2);
    case 9:
        return 4096UL * next(8);
    case 10:
        return -(unsigned long)next(4096);
    default:
        return next(1U << 31);
    }
}

// These end the program, pull the ground from under it, or wait for what does not come.
static bool harmful(int call, const unsigned long *a) {
    static const short never[] = {SYS_exit,
                                  SYS_exit_group,
                                  SYS_mmap,
                                  SYS_munmap,
                                  SYS_mprotect,
                                  SYS_mremap,
                                  SYS_brk,
                                  SYS_rt_sigreturn,
                                  SYS_clone,
                                  SYS_fork,
                                  SYS_vfork,
                                  SYS_execve,
                                  SYS_kill,
                                  SYS_tkill,
                                  SYS_tgkill,
                                  SYS_reboot,
                                  SYS_arch_prctl,
                                  SYS_rt_sigaction,
                                  SYS_rt_sigprocmask,
                                  SYS_rt_sigsuspend,
                                  SYS_sigaltstack,
                                  SYS_set_tid_address,
                                  SYS_set_robust_list,
                                  SYS_rt_sigqueueinfo,
                                  SYS_rt_tgsigqueueinfo,
                                  SYS_mount,
                                  SYS_umount2,
                                  SYS_pivot_root,
                                  SYS_chroot,
                                  SYS_prctl,
                                  SYS_setitimer,
                                  SYS_alarm,
                                  SYS_prlimit64,
                                  SYS_setrlimit,
                                  SYS_close_range};
    static const short standard[] = {SYS_close, SYS_dup2,  SYS_dup3,
                                     SYS_write, SYS_ioctl, SYS_fcntl};

    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
        if (call == never[i])
            return true;
    for (size_t i = 0; i < sizeof(standard) / sizeof(*standard); i++)
        if (call == standard[i] && ((int)a[0] < 3 || (int)a[1] < 3))
            return true;
    return false;
}

static void fill_room(void) {
    static const char *const names[] = {"/tmp/a", "a", "../x", "/proc/self/fd/3", "/dev/null", ""};

    for (int i = 0; i < 64; i++)
        ((unsigned long *)room)[next(ROOM / 8)] = argument();
    strcpy(room + next(ROOM / 2), names[next(6)]);
}

static void nothing(int signal) {
    (void)signal;
}

// Whatever waits is interrupted, again and again.
static void keep_going(void) {
    struct timeval time = {.tv_usec = 3000};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){time, time}, NULL);
    close_range(3, 1023, 0);
}

int main(int count, char **arguments) {
    struct sigaction action = {.sa_handler = nothing};
    long done = 0;

    CHECK(count >= 3 && chdir("/tmp") == 0);
    state = strtoul(arguments[1], NULL, 10);
    room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED && mprotect(room + ROOM, 4096, PROT_NONE) == 0);
    for (int signal_number = 1; signal_number < 65; signal_number++)
        signal(signal_number, SIG_IGN);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    for (int i = atoi(arguments[2]); i > 0; i--) {
        unsigned long a[6];
        int call = (int)next(CALLS);
        for (int k = 0; k < 6; k++)
            a[k] = argument();
        if (i % 4 == 0)
            fill_room();
        if (i % 64 == 0)
            keep_going();
        if (harmful(call, a))
            continue;
        if (count > 3)
            dprintf(1, "%d(%lx, %lx, %lx, %lx, %lx, %lx)\n", call, a[0], a[1], a[2], a[3], a[4],
                    a[5]);
        done += syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]) != -1;
    }
    CHECK(done > 1000);
    dprintf(1, "random_calls: ok\n");
    return 0;
}
