// Pipes with a name (fifo(7)): who opens the same vnode gets the same pipe, and open waits for a
// partner at the other end.
//
// Invariant: a pipe is in the list while files have it open; `users` counts them, under the lock.

#include "pipe.h"

struct fifo {
    struct list link;
    struct vnode *vnode; // held alive by the files
    struct pipe *pipe;
};

static struct list fifos = LIST(fifos);
static struct mutex fifos_lock = MUTEX(fifos_lock, "named pipes");

static struct fifo *fifo_get(struct vnode *vnode) {
    LIST_EACH(&fifos, fifo, struct fifo, link)
    if (fifo->vnode == vnode)
        return fifo;
    struct fifo *fifo = kzalloc(sizeof(*fifo));
    if (fifo != NULL)
        fifo->pipe = pipe_create();
    if (fifo == NULL || fifo->pipe == NULL) {
        kfree(fifo);
        return NULL;
    }
    fifo->vnode = vnode;
    list_append(&fifos, &fifo->link);
    return fifo;
}

static void fifo_close(struct file *file) {
    struct pipe *pipe = file->data;
    mutex_lock(&fifos_lock);
    pipe_leave(pipe, file);
    bool last = --pipe->users == 0;
    if (last) {
        LIST_EACH_SAFE(&fifos, fifo, struct fifo, link) {
            if (fifo->pipe == pipe) {
                list_remove(&fifo->link);
                kfree(fifo);
            }
        }
    }
    mutex_unlock(&fifos_lock);
    if (last)
        pipe_free(pipe);
}

// Waits until the other side has been opened, at least once since we came.
static int wait_for_partner(struct pipe *pipe, struct file *file) {
    unsigned access = file->flags & O_ACCMODE;
    if (access == O_RDWR)
        return 0;
    bool writes = access == O_WRONLY;
    if (file->flags & O_NONBLOCK)
        return writes && pipe->readers == 0 ? -ENXIO : 0;
    volatile u32 *partners = writes ? &pipe->readers : &pipe->writers;
    volatile u32 *ever = writes ? &pipe->readers_ever : &pipe->writers_ever;
    u32 before = *ever;
    struct poll_source *source = writes ? &pipe->writable : &pipe->readable;
    return WAIT_FOR(&source->queue, *partners > 0 || *ever != before, NEVER, true);
}

static int fifo_open(struct file *file) {
    mutex_lock(&fifos_lock);
    struct fifo *fifo = fifo_get(file->vnode);
    struct pipe *pipe = fifo == NULL ? NULL : fifo->pipe;
    if (pipe != NULL) {
        pipe->users++;
        pipe_join(pipe, file);
    }
    mutex_unlock(&fifos_lock);
    if (pipe == NULL)
        return -ENOMEM;
    int status = wait_for_partner(pipe, file);
    if (status < 0)
        fifo_close(file);
    return status;
}

const struct file_operations fifo_operations = {
    .stream = true,
    .open = fifo_open,
    .close = fifo_close,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
};
