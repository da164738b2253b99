// What the file layer needs from the rest of the kernel, made of a host's libc and pthreads.
#pragma once

#include "vnode.h"

#include "block.h"
#include "thread.h"

// Starts the world: memory of so many pages, a process with a descriptor table. A disk may have
// been added before.
void shim_start(size_t pages);
void shim_disk(const char *name, void *bytes, size_t size); // a disk in the host's memory
void shim_disks_forget(void);

// Memory runs out after so many more allocations; < 0: never.
void shim_memory_fails_after(long allocations);
size_t shim_pages_used(void);

extern struct process shim_process; // whose thread every host thread is
extern int shim_signal;             // the last one sent to it
extern unsigned long shim_requests; // block transfers so far
extern char shim_console[1 << 16];  // what uart_write wrote
extern size_t shim_console_size;
void shim_type(const char *text); // input on the console
extern long shim_failing_sector;  // reads of it fail; -1: none
