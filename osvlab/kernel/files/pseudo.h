// Filesystems whose files are written at the moment they are read: procfs and sysfs.
//
// A tree is a table of entries, each naming its parent by index; entry 0 is the root. What stands
// below a directory of processes is repeated for each process, so a vnode is (process, entry),
// and that is its inode number: pid << 16 | entry + 1. Open descriptors have FD_BIT set. What
// stands below a thread is (thread, entry) alike.
#pragma once

#include "vnode.h"

#include "thread.h"

#define PSEUDO_FD 0x8000U
#define PSEUDO_PID_SHIFT 16

// A text that grows.
struct text {
    char *bytes;
    size_t used, size;
    bool no_memory;
};
void text_add(struct text *text, const char *format, ...) PRINTF(2, 3);

struct pseudo_entry {
    const char *name;
    u16 parent;
    u32 mode;
    void (*write)(struct text *text, int pid); // a file's contents, a link's target
};

struct pseudo_tree {
    const struct pseudo_entry *entries;
    size_t count;
    u16 process;     // the entry that stands for "a process", below the root; 0: none
    u16 descriptors; // the entry that is a process's directory of descriptors
    u16 threads;     // the entry that is its directory of threads
    u16 thread;      // the entry in there that stands for "a thread"
};

int pseudo_mount(struct mount *mount, const struct pseudo_tree *tree);

// What is known of a process, copied while the list was locked.
struct process_view {
    int pid, parent, threads;
    bool dead;
    char name[64];
};
bool process_view(int pid, struct process_view *out);
size_t process_pids(int *out, size_t size); // sorted

// The same of a thread.
struct thread_view {
    struct thread_facts facts;
    char name[16];
};
bool thread_view(int id, struct thread_view *out);
size_t thread_ids(int pid, int *out, size_t size); // of a process, in no order
