// Sockets as files: read, write, poll, ioctl and close of a descriptor that stands for a socket.
//
// Invariant: a file's `data` is its socket, which lives until the file is closed; it is NULL only
// while accept or socketpair has not finished making it, when no descriptor leads to the file.

#include "socket_layer.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include "files/vnode.h"

static long transfer(struct file *file, const struct iovec *pieces, size_t count, bool write) {
    struct message message;
    message_init(&message, pieces, count, 0);
    if (write)
        return socket_send(file->data, &message, socket_waits(file, 0));
    if (message.size == 0) // unlike recv, which takes a message away
        return 0;
    return socket_receive(file->data, &message, socket_waits(file, 0));
}

static long socket_read(struct file *file, void *buffer, size_t size, u64 *position) {
    (void)position;
    struct iovec piece = {buffer, size};
    return transfer(file, &piece, 1, false);
}

static long socket_write(struct file *file, const void *buffer, size_t size, u64 *position) {
    (void)position;
    struct iovec piece = {(void *)buffer, size};
    return transfer(file, &piece, 1, true);
}

static unsigned poll_socket(struct file *file, struct poll_table *table) {
    struct socket *socket = file->data;
    poll_on(table, &socket->readable);
    poll_on(table, &socket->writable);
    return socket->ready;
}

static long control_socket(struct file *file, unsigned command, u64 argument) {
    struct socket *socket = file->data;
    long status = interface_request(command, argument);
    if (status != -ENOTTY || socket->protocol->ioctl == NULL)
        return status;
    network_lock();
    status = socket->protocol->ioctl(socket, command, argument);
    network_unlock();
    return status;
}

static void close_socket(struct file *file) {
    if (file->data != NULL)
        socket_close(file->data);
}

static const struct file_operations operations = {
    .stream = true,
    .close = close_socket,
    .read = socket_read,
    .write = socket_write,
    .vector = transfer,
    .poll = poll_socket,
    .ioctl = control_socket,
};

struct socket *socket_of(struct file *file) {
    return file->operations == &operations ? file->data : NULL;
}

struct file *socket_file(int descriptor, struct socket **out, int *error) {
    struct file *file = file_of(descriptor);
    *error = file == NULL || file->flags & O_PATH ? -EBADF : -ENOTSOCK;
    *out = file == NULL ? NULL : socket_of(file);
    if (*out == NULL && file != NULL) {
        file_put(file);
        file = NULL;
    }
    return file;
}

int socket_file_new(unsigned flags, struct file **out) {
    struct vnode *vnode = vnode_anonymous("socket", S_IFSOCK | 0777, &operations);
    if (vnode == NULL)
        return -ENOMEM;
    int status = file_create(vnode, O_RDWR | (flags & O_NONBLOCK), out);
    vnode_put(vnode);
    return status;
}

void socket_file_set(struct file *file, struct socket *socket) {
    file->data = socket;
}

bool socket_waits(struct file *file, int flags) {
    return !(file->flags & O_NONBLOCK || flags & MSG_DONTWAIT);
}
