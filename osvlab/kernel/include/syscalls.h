// System calls that are not about files, by the names of Linux's x86_64 table.
#pragma once

#include <signal.h>
#include <time.h>

#include "base.h"

struct rlimit;
struct rusage;
struct sysinfo;
struct utsname;
struct tms;
struct itimerval;
struct itimerspec;
struct sigevent;
struct k_sigaction;

// syscalls/threads.c
long sys_clone(u64 flags, u64 stack, u32 *parent_tid, u32 *child_tid, u64 tls);
long sys_exit(int status);
long sys_exit_group(int status);
long sys_wait4(int pid, int *status, int options, struct rusage *usage);
long sys_waitid(int type, int id, siginfo_t *info, int options, struct rusage *usage);
long sys_gettid(void);
long sys_getpid(void);
long sys_getppid(void);
long sys_set_tid_address(u32 *address);
long sys_set_robust_list(u64 head, size_t size);
long sys_get_robust_list(int tid, u64 *head, size_t *size);
long sys_arch_prctl(int code, u64 address);
long sys_futex(u32 *address, int operation, u32 value, const struct timespec *timeout,
               u32 *address2, u32 value3);
long sys_sched_yield(void);
long sys_sched_getaffinity(int tid, size_t size, u64 *mask);
long sys_sched_setaffinity(int tid, size_t size, const u64 *mask);
long sys_sched_getparam(int tid, int *parameter);
long sys_sched_getscheduler(int tid);
long sys_sched_setscheduler(int tid, int policy, const int *parameter);
long sys_sched_get_priority_max(int policy);
long sys_sched_get_priority_min(int policy);
long sys_getcpu(u32 *cpu, u32 *node);
long sys_prctl(int option, u64 a, u64 b, u64 c, u64 d);
long sys_membarrier(int command, unsigned flags);

// syscalls/memory.c
long sys_mmap(u64 address, size_t size, int protection, int flags, int descriptor, u64 offset);
long sys_munmap(u64 address, size_t size);
long sys_mprotect(u64 address, size_t size, int protection);
long sys_mremap(u64 address, size_t old_size, size_t new_size, int flags, u64 new_address);
long sys_madvise(u64 address, size_t size, int advice);
long sys_mincore(u64 address, size_t size, u8 *map);
long sys_msync(u64 address, size_t size, int flags);
long sys_brk(u64 address);

// -EINTR whatever the handler's SA_RESTART says: a socket's wait with a timeout (signal(7)). An
// application never sees this number.
#define EINTR_FINAL 513

// What other parts ask.
u64 process_time(void);               // processor time of the current process, nanoseconds
void signal_mask_for_sleep(u64 mask); // ppoll, pselect, epoll_pwait: put back after the handler

// syscalls/time.c
long sys_clock_gettime(int clock, struct timespec *out);
long sys_clock_settime(int clock, const struct timespec *to);
long sys_clock_getres(int clock, struct timespec *out);
long sys_gettimeofday(i64 *out, void *zone);
long sys_time(i64 *out);
long sys_times(struct tms *out);
long sys_nanosleep(const struct timespec *length, struct timespec *rest);
long sys_clock_nanosleep(int clock, int flags, const struct timespec *length,
                         struct timespec *rest);
long sys_alarm(unsigned seconds);
long sys_setitimer(int which, const struct itimerval *new, struct itimerval *old);
long sys_getitimer(int which, struct itimerval *out);
long sys_timer_create(int clock, const struct sigevent *event, int *id);
long sys_timer_settime(int id, int flags, const struct itimerspec *new, struct itimerspec *old);
long sys_timer_gettime(int id, struct itimerspec *out);
long sys_timer_getoverrun(int id);
long sys_timer_delete(int id);

// syscalls/signals.c
long sys_rt_sigaction(int signal, const struct k_sigaction *new, struct k_sigaction *old,
                      size_t size);
long sys_rt_sigprocmask(int how, const u64 *new, u64 *old, size_t size);
long sys_rt_sigpending(u64 *out, size_t size);
long sys_rt_sigsuspend(const u64 *mask, size_t size);
long sys_rt_sigtimedwait(const u64 *set, siginfo_t *info, const struct timespec *timeout,
                         size_t size);
long sys_rt_sigqueueinfo(int pid, int signal, const siginfo_t *info);
long sys_rt_tgsigqueueinfo(int pid, int tid, int signal, const siginfo_t *info);
long sys_rt_sigreturn(void);
long sys_sigaltstack(const stack_t *new, stack_t *old);
long sys_pause(void);
long sys_kill(int pid, int signal);
long sys_tkill(int tid, int signal);
long sys_tgkill(int pid, int tid, int signal);

// syscalls/system.c
long sys_uname(struct utsname *out);
long sys_sysinfo(struct sysinfo *out);
long sys_getrlimit(int resource, struct rlimit *out);
long sys_setrlimit(int resource, const struct rlimit *limit);
long sys_prlimit64(int pid, int resource, const struct rlimit *new, struct rlimit *old);
long sys_getrusage(int who, struct rusage *out);
long sys_sethostname(const char *name, size_t length);
long sys_reboot(int magic1, int magic2, int command, void *argument);
long sys_syslog(int type, char *buffer, int length);
long sys_zero(void); // root's ids, and calls that have nothing to do here
long sys_getresid(u32 *real, u32 *effective, u32 *saved);
long sys_getgroups(int size, u32 *list);
long sys_getsid(int pid);
