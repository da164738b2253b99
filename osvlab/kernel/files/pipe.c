// Pipes, with or without a name: a ring of bytes between those who write and those who read.
//
// Invariant: bytes move under the pipe's mutex;
// writes of up to PIPE_BUF bytes go in as a whole or wait. Both ends learn of changes through one
// poll source each, so that a poll looks without taking the mutex.
// Semantics: pipe(7), fifo(7).

#include "pipe.h"

#include <signal.h>
#include <sys/ioctl.h>

#include "syscalls_files.h"
#include "thread.h"

struct pipe *pipe_create(void) {
    struct pipe *pipe = kzalloc(sizeof(*pipe));
    if (pipe == NULL || ring_init(&pipe->ring, PIPE_PAGES) < 0) {
        kfree(pipe);
        return NULL;
    }
    mutex_init(&pipe->lock, "pipe");
    poll_source_init(&pipe->readable, "pipe readers");
    poll_source_init(&pipe->writable, "pipe writers");
    return pipe;
}

void pipe_free(struct pipe *pipe) {
    ring_free(&pipe->ring);
    kfree(pipe);
}

static bool is_open_for(const struct file *file, bool write) {
    unsigned access = file->flags & O_ACCMODE;
    return access == O_RDWR || (access == O_WRONLY) == write;
}

void pipe_join(struct pipe *pipe, struct file *file) {
    if (is_open_for(file, false)) {
        pipe->readers++;
        pipe->readers_ever++;
    }
    if (is_open_for(file, true)) {
        pipe->writers++;
        pipe->writers_ever++;
    }
    file->data = pipe;
    poll_notify(&pipe->readable, POLLHUP);
    poll_notify(&pipe->writable, POLLERR);
}

void pipe_leave(struct pipe *pipe, struct file *file) {
    mutex_lock(&pipe->lock);
    pipe->readers -= is_open_for(file, false);
    pipe->writers -= is_open_for(file, true);
    mutex_unlock(&pipe->lock);
    poll_notify(&pipe->readable, POLLHUP);
    poll_notify(&pipe->writable, POLLERR);
}

// --- Moving bytes; the mutex is held ---

static long take_out(struct ring *ring, u8 *user, size_t size) {
    size_t done = 0;
    size = MIN(size, ring_used(ring));
    while (done < size) {
        size_t piece = size - done;
        const u8 *bytes = ring_piece(ring, ring->tail, &piece, false);
        if (user_write(user + done, bytes, piece) < 0)
            return done > 0 ? (long)done : -EFAULT;
        ring->tail += piece;
        done += piece;
    }
    return (long)done;
}

static long put_in(struct ring *ring, const u8 *user, size_t size) {
    size_t done = 0;
    size = MIN(size, ring_room(ring));
    while (done < size) {
        size_t piece = size - done;
        u8 *bytes = ring_piece(ring, ring->head, &piece, true);
        int status = bytes == NULL ? -ENOMEM : user_read(bytes, user + done, piece);
        if (status < 0)
            return done > 0 ? (long)done : status;
        ring->head += piece;
        done += piece;
    }
    return (long)done;
}

// --- read and write ---

long pipe_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct pipe *pipe = file->data;
    (void)position;
    if (size == 0)
        return 0;
    for (;;) {
        mutex_lock(&pipe->lock);
        bool end = pipe->writers == 0;
        long done = take_out(&pipe->ring, buffer, size);
        mutex_unlock(&pipe->lock);
        if (done > 0)
            poll_notify(&pipe->writable, POLLOUT | POLLWRNORM);
        if (done != 0 || end)
            return done;
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        int status = WAIT_FOR(&pipe->readable.queue,
                              ring_used(&pipe->ring) > 0 || pipe->writers == 0, NEVER, true);
        if (status < 0)
            return status;
    }
}

// A write that fits PIPE_BUF needs room for all of it.
static size_t room_needed(size_t size) {
    return size <= PIPE_BUF ? size : 1;
}

// SIGPIPE is for the thread that writes, whoever else is there.
static long broken(size_t done) {
    signal_current_thread(SIGPIPE);
    return done > 0 ? (long)done : -EPIPE;
}

long pipe_write(struct file *file, const void *buffer, size_t size, u64 *position) {
    struct pipe *pipe = file->data;
    (void)position;
    for (size_t done = 0; done < size;) {
        size_t needed = room_needed(size);
        mutex_lock(&pipe->lock);
        bool nobody = pipe->readers == 0;
        long put = 0;
        if (!nobody && ring_room(&pipe->ring) >= MIN(needed, size - done))
            put = put_in(&pipe->ring, (const u8 *)buffer + done, size - done);
        mutex_unlock(&pipe->lock);
        if (nobody)
            return broken(done);
        if (put < 0)
            return done > 0 ? (long)done : put;
        done += (size_t)put;
        if (put > 0) {
            poll_notify(&pipe->readable, POLLIN | POLLRDNORM);
            continue;
        }
        if (file->flags & O_NONBLOCK)
            return done > 0 ? (long)done : -EAGAIN;
        int status = WAIT_FOR(
            &pipe->writable.queue,
            ring_room(&pipe->ring) >= MIN(needed, size - done) || pipe->readers == 0, NEVER, true);
        if (status < 0)
            return done > 0 ? (long)done : status;
    }
    return (long)size;
}

unsigned pipe_poll(struct file *file, struct poll_table *table) {
    struct pipe *pipe = file->data;
    unsigned ready = 0;
    if (is_open_for(file, false)) {
        poll_on(table, &pipe->readable);
        if (ring_used(&pipe->ring) > 0)
            ready |= POLLIN | POLLRDNORM;
        if (pipe->writers == 0 && pipe->writers_ever > 0)
            ready |= POLLHUP;
    }
    if (is_open_for(file, true)) {
        poll_on(table, &pipe->writable);
        if (ring_room(&pipe->ring) >= PIPE_BUF)
            ready |= POLLOUT | POLLWRNORM;
        if (pipe->readers == 0)
            ready |= POLLERR;
    }
    return ready;
}

long pipe_ioctl(struct file *file, unsigned command, u64 argument) {
    struct pipe *pipe = file->data;
    int left = (int)ring_used(&pipe->ring);
    return command == FIONREAD ? user_write((void *)argument, &left, sizeof(left)) : -ENOTTY;
}

static void pipe_close(struct file *file) {
    struct pipe *pipe = file->data;
    pipe_leave(pipe, file);
    if (__atomic_sub_fetch(&pipe->users, 1, __ATOMIC_ACQ_REL) == 0)
        pipe_free(pipe);
}

static const struct file_operations pipe_operations = {
    .stream = true,
    .close = pipe_close,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
};

// --- pipe(2) ---

static int make_end(struct vnode *vnode, struct pipe *pipe, unsigned flags, struct file **out) {
    int status = file_create(vnode, flags, out);
    if (status == 0)
        pipe_join(pipe, *out);
    return status;
}

long sys_pipe2(int *user, int flags) {
    if (flags & ~(O_CLOEXEC | O_NONBLOCK)) // O_DIRECT, pipes of packets, is not there
        return -EINVAL;
    struct pipe *pipe = pipe_create();
    struct vnode *vnode =
        pipe == NULL ? NULL : vnode_anonymous("pipe", S_IFIFO | 0600, &pipe_operations);
    struct file *ends[2] = {NULL, NULL};
    int status = vnode == NULL ? -ENOMEM : 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        status = make_end(
            vnode, pipe, (unsigned)(flags & O_NONBLOCK) | (i == 0 ? O_RDONLY : O_WRONLY), &ends[i]);
        pipe->users += status == 0;
    }
    vnode_put(vnode);
    int numbers[2] = {-1, -1};
    for (int i = 0; i < 2; i++) {
        if (ends[i] == NULL)
            continue;
        if (status < 0) {
            file_put(ends[i]);
            continue;
        }
        numbers[i] = descriptor_install(ends[i], (unsigned)flags, 0);
        status = MIN(numbers[i], 0);
    }
    if (ends[0] == NULL && pipe != NULL) // no file ever had it
        pipe_free(pipe);
    if (status == 0)
        status = user_write(user, numbers, sizeof(numbers));
    for (int i = 0; i < 2 && status < 0; i++)
        if (numbers[i] >= 0)
            sys_close(numbers[i]);
    return status;
}

long sys_pipe(int *user) {
    return sys_pipe2(user, 0);
}
