// System calls about the system as a whole, and those for which one user and one address space
// leave nothing to do.

#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "clock.h"
#include "memory.h"
#include "print.h"
#include "network/interface.h"
#include "report.h"
#include "runtime.h"
#include "scheduler.h"
#include "syscalls.h"
#include "syscalls_files.h"
#include "user.h"

static char hostname[65] = "osv.local"; // as OSv calls itself

long sys_uname(struct utsname *out) {
    struct utsname u = {.sysname = "Linux",
                        .release = "5.15.0-osvlab",
                        .version = "#1 SMP osvlab kernel " OSVLAB_VERSION,
                        .machine = "x86_64"};

    memcpy(u.nodename, hostname, sizeof(hostname));
    strcpy(u.domainname, "(none)");
    return user_write(out, &u, sizeof(u));
}

long sys_sethostname(const char *name, size_t length) {
    char new[65] = "";

    if (length >= sizeof(new))
        return -EINVAL;
    if (user_read(new, name, length) < 0)
        return -EFAULT;
    memcpy(hostname, new, sizeof(new));
    dhcp_renew_all(); // a server that keeps names learns the new one
    return 0;
}

// As the kernel writes it; libc's structure has room behind that for ever.
#define SYSINFO_SIZE 112

static void count(struct process *p, void *argument) {
    (void)p;
    ++*(unsigned short *)argument;
}

long sys_sysinfo(struct sysinfo *out) {
    struct memory_statistics m;
    struct sysinfo s = {.uptime = clock_monotonic() / SECOND, .mem_unit = 1};

    memory_statistics(&m);
    s.totalram = m.total;
    s.freeram = m.free;
    s.bufferram = m.cache;
    processes_each(count, &s.procs);
    return user_write(out, &s, SYSINFO_SIZE);
}

static struct rlimit limits[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_FSIZE] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_DATA] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_RSS] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_NPROC] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_MEMLOCK] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_AS] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_LOCKS] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_SIGPENDING] = {1024, 1024},
    [RLIMIT_MSGQUEUE] = {0, 0},
    [RLIMIT_RTTIME] = {RLIM_INFINITY, RLIM_INFINITY},
    [RLIMIT_STACK] = {8UL << 20, RLIM_INFINITY},
    [RLIMIT_CORE] = {0, 0},
    [RLIMIT_NICE] = {0, 0},
    [RLIMIT_RTPRIO] = {0, 0},
};

// The number of open files is the descriptor table's business; the rest are only remembered.
static struct rlimit limit_now(int resource) {
    u64 soft = limits[resource].rlim_cur, hard = limits[resource].rlim_max;

    if (resource == RLIMIT_NOFILE)
        files_limits(current_process()->files, &soft, &hard);
    return (struct rlimit){soft, hard};
}

static long limit_set(int resource, const struct rlimit *wanted) {
    if (wanted->rlim_cur > wanted->rlim_max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE)
        return files_set_limits(current_process()->files, wanted->rlim_cur, wanted->rlim_max);
    if (wanted->rlim_max > limits[resource].rlim_max)
        return -EPERM;
    limits[resource] = *wanted;
    return 0;
}

long sys_prlimit64(int pid, int resource, const struct rlimit *new, struct rlimit *old) {
    struct rlimit wanted;

    (void)pid;
    if (resource < 0 || resource >= RLIM_NLIMITS)
        return -EINVAL;
    if (new && user_read(&wanted, new, sizeof(wanted)) < 0)
        return -EFAULT;
    struct rlimit now = limit_now(resource);
    if (old && user_write(old, &now, sizeof(now)) < 0)
        return -EFAULT;
    return new ? limit_set(resource, &wanted) : 0;
}

long sys_getrlimit(int resource, struct rlimit *out) {
    return sys_prlimit64(0, resource, NULL, out);
}

long sys_setrlimit(int resource, const struct rlimit *limit) {
    return sys_prlimit64(0, resource, limit, NULL);
}

long sys_getrusage(int who, struct rusage *out) {
    struct { // struct rusage as the kernel writes it; libc's is longer
        i64 user[2], system[2], counts[14];
    } usage = {0};
    struct memory_statistics m;

    (void)who;
    u64 time = process_time();
    usage.user[0] = (i64)(time / SECOND);
    usage.user[1] = (i64)(time % SECOND / MICROSECOND);
    memory_statistics(&m);
    usage.counts[0] = (i64)((m.total - m.free) >> 10);
    return user_write(out, &usage, sizeof(usage));
}

long sys_reboot(int magic1, int magic2, int command, void *argument) {
    (void)magic1;
    (void)magic2;
    (void)argument;
    if ((unsigned)command == RB_POWER_OFF || (unsigned)command == RB_HALT_SYSTEM ||
        command == RB_AUTOBOOT)
        core_shutdown(0);
    return -EINVAL;
}

// The actions of syslog(2) that read.
#define SYSLOG_READ_ALL 3
#define SYSLOG_SIZE_UNREAD 9
#define SYSLOG_SIZE_BUFFER 10

long sys_syslog(int type, char *buffer, int length) {
    size_t kept;
    const char *history = print_history(&kept);

    if (type == SYSLOG_SIZE_UNREAD || type == SYSLOG_SIZE_BUFFER)
        return (long)kept;
    if (type != SYSLOG_READ_ALL)
        return 0; // nothing to switch
    if (length < 0)
        return -EINVAL;
    size_t size = MIN(kept, (size_t)length); // the end, if there is no room for all
    return user_write(buffer, history + kept - size, size) < 0 ? -EFAULT : (long)size;
}

long sys_zero(void) {
    return 0;
}

long sys_getresid(u32 *real, u32 *effective, u32 *saved) {
    u32 root = 0;
    int status = user_write(real, &root, sizeof(root));

    status = status ? status : user_write(effective, &root, sizeof(root));
    return status ? status : user_write(saved, &root, sizeof(root));
}

long sys_getgroups(int size, u32 *list) {
    (void)size;
    (void)list;
    return 0;
}

long sys_getsid(int pid) {
    return pid ? pid : current_process()->pid;
}
