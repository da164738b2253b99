// What the file layer needs from the rest of the kernel, made of a host's libc and pthreads.
#pragma once

#include <assert.h>

#include "vnode.h"

#include "block.h"
#include "check.h"
#include "syscalls_files.h"
#include "thread.h"

// Starts the world: memory of so many pages, a process with a descriptor table. A disk may have
// been added before.
void shim_start(size_t pages);
void shim_disk(const char *name, void *bytes, size_t size); // a disk in the host's memory
void shim_disks_forget(void);

// Memory runs out after so many more allocations; < 0: never.
void shim_memory_fails_after(long allocations);
size_t shim_pages_used(void);
size_t shim_objects(void); // of kzalloc, not yet freed

extern struct process shim_process; // whose thread every host thread is
extern int shim_signal;             // the last one sent to it
extern unsigned long shim_requests; // block transfers so far
extern char shim_console[1 << 16];  // what uart_write wrote
extern size_t shim_console_size;
void shim_type(const char *text); // input on the console
extern long shim_failing_sector;  // reads of it fail; -1: none

// Short ways to make files. Static inline: a test need not use all.

static inline int open_new(const char *name) {
    long fd = sys_open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
    assert(fd >= 0);
    return (int)fd;
}

static inline void make(const char *name, const char *text) {
    int fd = open_new(name);
    CHECK(sys_write(fd, text, strlen(text)), strlen(text));
    CHECK(sys_close(fd), 0);
}

static inline struct stat stat_of(const char *name) {
    struct stat s;
    CHECK(sys_lstat(name, &s), 0);
    return s;
}
