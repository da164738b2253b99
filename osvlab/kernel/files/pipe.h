// A pipe, shared by pipe.c (without a name) and fifo.c (with one).
#pragma once

#include "poll.h"
#include "ring.h"

#define PIPE_PAGES 16

struct pipe {
    struct mutex lock;
    struct ring ring;
    volatile u32 readers, writers;
    volatile u32 readers_ever,
        writers_ever; // how often each side was opened: a FIFO's open waits for it
    struct poll_source readable, writable; // where readers and where writers wait
    u32 users;
};

struct pipe *pipe_create(void);
void pipe_free(struct pipe *pipe);
void pipe_join(struct pipe *pipe, struct file *file);  // an end was opened
void pipe_leave(struct pipe *pipe, struct file *file); // or closed
long pipe_read(struct file *file, void *buffer, size_t size, u64 *position);
long pipe_write(struct file *file, const void *buffer, size_t size, u64 *position);
unsigned pipe_poll(struct file *file, struct poll_table *table);
long pipe_ioctl(struct file *file, unsigned command, u64 argument);
