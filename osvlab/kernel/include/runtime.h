// The narrow seam between the core and the runtime (the ELF linker and its libc).
//
// Everything else between the two goes through system calls.
#pragma once

#include "base.h"

// Core -> runtime: where the first thread begins. It runs in process 1 on a normal stack with
// file descriptors 0, 1 and 2 open on the console, and does not return.
_Noreturn void runtime_main(const char *command_line);

// Core -> runtime, also during a crash: whose code is this? Must not lock, allocate or sleep.
// Fills what is known and returns true if the address lies in a loaded object.
struct symbol {
    const char *object;          // guest path, e.g. "/hello"
    const char *name;            // symbol, or NULL
    u64 offset;                  // of the address from the symbol, or from the object's base
    u64 base;                    // load address of the object
    const void *eh_frame_header; // PT_GNU_EH_FRAME of the object, or NULL
};
bool runtime_symbolize(u64 address, struct symbol *out);

// Core -> runtime: how the time-stamp counter becomes time. It lies among the constants, which the
// instances of libc share with the kernel; all 0 where there is no core to write it.
struct clock_data {
    u64 start;           // what the counter showed when monotonic time began
    u64 multiplier;      // nanoseconds = ticks * multiplier >> 32
    u64 realtime_offset; // nanoseconds from monotonic time to wall-clock time
};
extern const struct clock_data clock_data;

// Core -> runtime: a process has ended, and its memory is about to go. Must not lock or sleep.
void runtime_process_gone(int pid);

// Core -> runtime, from the first thread while it mounts: loads the modules of the core (module.h)
// that lie in a directory, in the order of their names, and says why one cannot be.
void runtime_load_modules(const char *directory);

// Runtime -> core, beyond Linux's system calls. 0 or -errno.
int core_module_start(const void *entry); // a module's `osvlab_module`
bool core_filesystem_known(const char *type);
int core_mount_root(const char *type, bool pivot); // "rofs", "ramfs", "zfs"...; NULL = discover
void core_mount_bootfs(void);                      // instead: only what came along with the kernel
int core_mount(const char *type, const char *device, const char *path);
void core_set_verbose(bool on);
int core_set_console(const char *name); // "serial", "vga", "all"
void core_power_off_on_abort(bool on);
void core_bootchart(bool on);
void core_booted(void); // prints "Booted up in ... ms" or the chart
// Shows pages of the kernel image a second time, at an address mmap has given. Never writable.
int core_share(u64 kernel_address, size_t size, u64 address, int protection);
// The network: static addresses (-EINVAL, -ENODEV, -ENETUNREACH), or waiting until DHCP has given
// every interface one. False: it has not, in its time.
int core_network_address(const char *interface, const char *address, const char *netmask);
int core_network_gateway(const char *address);
int core_network_nameserver(const char *address);
bool core_network_wait(void);
// The interface of that number, from 0, without the loopback; "" as an address: none.
bool core_network_interface(int number, char name[16], char address[16]);
// Memory that mmap has given: from now on it goes with the calling process, or with none.
int core_own(u64 address, size_t size, bool mine);
void core_report_started(int pid, const char *command);
void core_report_ended(int pid, int status);
_Noreturn void core_shutdown(int status); // unmount, report exited(status), power off
