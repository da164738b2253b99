// What stands in /proc/PID: procfs_process.c writes it, procfs.c has the table of names.
#pragma once

#include "pseudo.h"

int proc_current_pid(void);

// procfs_thread.c: /proc/PID/task/TID, where "pid" is the thread's.
void proc_write_thread_stat(struct text *text, int id);
void proc_write_thread_status(struct text *text, int id);
void proc_write_thread_comm(struct text *text, int id);

void proc_write_maps(struct text *text, int pid);
void proc_write_stat(struct text *text, int pid);
void proc_write_statm(struct text *text, int pid);
void proc_write_status(struct text *text, int pid);
void proc_write_cmdline(struct text *text, int pid);
void proc_write_comm(struct text *text, int pid);
void proc_write_mounts(struct text *text, int pid);
void proc_write_exe(struct text *text, int pid);
void proc_write_cwd(struct text *text, int pid);
void proc_write_root(struct text *text, int pid);

// And in /proc/net: network/procfs.c, procfs_sockets.c.
void proc_write_net_arp(struct text *text, int pid);
void proc_write_net_dev(struct text *text, int pid);
void proc_write_net_pnp(struct text *text, int pid);
void proc_write_net_route(struct text *text, int pid);
void proc_write_net_sockstat(struct text *text, int pid);
void proc_write_net_tcp(struct text *text, int pid);
void proc_write_net_udp(struct text *text, int pid);
void proc_write_net_six(struct text *text, int pid); // tcp6, udp6: nothing but the heading
void proc_write_net_unix(struct text *text, int pid);
