// System calls that make, name, connect and end sockets.
//
// The checks come in Linux's order (net/socket.c there), because programs compare errno values.

#include "syscalls_network.h"

#include "files/vnode.h"
#include "socket_address.h"
#include "socket_layer.h"
#include "syscalls_files.h"

#define TYPE_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK) // the values of O_CLOEXEC, O_NONBLOCK

int address_in(struct sockaddr_storage *out, const void *user, int size) {
    if (size < 0 || (size_t)size > sizeof(*out))
        return -EINVAL;
    return user_read(out, user, (size_t)size);
}

int address_out(const struct sockaddr_storage *address, socklen_t size, void *user,
                int *user_size) {
    int room;
    if (user_read(&room, user_size, sizeof(room)) < 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (user_write(user, address, MIN((size_t)room, size)) < 0)
        return -EFAULT;
    return user_write(user_size, &size, sizeof(size));
}

// --- socket, socketpair ---

static int make_file(int domain, int type, int protocol, struct file **out) {
    if (type & ~(0xf | TYPE_FLAGS))
        return -EINVAL;
    int status = socket_file_new((unsigned)type, out);
    struct socket *socket;
    if (status < 0)
        return status;
    status = socket_create(domain, type & 0xf, protocol, &socket);
    if (status < 0)
        file_put(*out);
    else
        socket_file_set(*out, socket);
    return status;
}

long sys_socket(int domain, int type, int protocol) {
    struct file *file;
    int status = make_file(domain, type, protocol, &file);
    return status < 0 ? status : descriptor_install(file, (unsigned)type, 0);
}

static int make_pair(int domain, int type, int protocol, struct file *files[2]) {
    int status = make_file(domain, type, protocol, &files[0]);
    if (status < 0)
        return status;
    status = make_file(domain, type, protocol, &files[1]);
    if (status < 0) {
        file_put(files[0]);
        return status;
    }
    struct socket *one = socket_of(files[0]), *other = socket_of(files[1]);
    network_lock();
    status = one->protocol->pair == NULL ? -EOPNOTSUPP : one->protocol->pair(one, other);
    socket_refresh(one);
    socket_refresh(other);
    network_unlock();
    if (status < 0) {
        file_put(files[0]);
        file_put(files[1]);
    }
    return status;
}

long sys_socketpair(int domain, int type, int protocol, int *out) {
    struct file *files[2];
    int status = make_pair(domain, type, protocol, files);
    if (status < 0)
        return status;
    int numbers[2] = {descriptor_install(files[0], (unsigned)type, 0), -1};
    if (numbers[0] < 0)
        file_put(files[1]);
    else
        numbers[1] = descriptor_install(files[1], (unsigned)type, 0);
    status = MIN(MIN(numbers[0], numbers[1]), 0);
    if (status == 0)
        status = user_write(out, numbers, sizeof(numbers));
    for (int i = 0; i < 2 && status < 0; i++)
        if (numbers[i] >= 0)
            sys_close(numbers[i]);
    return status;
}

// --- bind, listen, connect, shutdown ---

long sys_bind(int descriptor, const void *user, int size) {
    struct sockaddr_storage address;
    struct socket *socket;
    int status;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    status = address_in(&address, user, size);
    if (status == 0) {
        network_lock();
        status = socket->protocol->bind == NULL
                     ? -EOPNOTSUPP
                     : socket->protocol->bind(socket, (void *)&address, (socklen_t)size);
        socket_refresh(socket);
        network_unlock();
    }
    file_put(file);
    return status;
}

#define BACKLOG_MAX 4096 // Linux's net.core.somaxconn

long sys_listen(int descriptor, int backlog) {
    struct socket *socket;
    int status;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    if ((unsigned)backlog > BACKLOG_MAX)
        backlog = BACKLOG_MAX;
    network_lock();
    status =
        socket->protocol->listen == NULL ? -EOPNOTSUPP : socket->protocol->listen(socket, backlog);
    socket->listening |= status == 0;
    socket_refresh(socket);
    network_unlock();
    file_put(file);
    return status;
}

long sys_connect(int descriptor, const void *user, int size) {
    struct sockaddr_storage address;
    struct socket *socket;
    int status;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    status = address_in(&address, user, size);
    if (status == 0 && (size_t)size < sizeof(sa_family_t))
        status = -EINVAL;
    if (status == 0)
        status = socket_connect(socket, (void *)&address, (socklen_t)size, socket_waits(file, 0));
    file_put(file);
    return status;
}

long sys_shutdown(int descriptor, int how) {
    struct socket *socket;
    int status;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
        status = -EINVAL;
    } else if (socket->protocol->shutdown == NULL) {
        status = -EOPNOTSUPP;
    } else {
        network_lock();
        status = socket->protocol->shutdown(socket, how);
        socket->no_room = true; // whoever waits looks again
        socket_readable(socket);
        socket_writable(socket);
        network_unlock();
    }
    file_put(file);
    return status;
}

// --- accept ---

static int tell_peer(struct socket *socket, void *user, int *user_size) {
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof(name);
    if (user == NULL)
        return 0;
    network_lock();
    int status = socket->protocol->name(socket, true, &name, &size);
    network_unlock();
    return status < 0 ? -ECONNABORTED : address_out(&name, size, user, user_size);
}

static int accept_into(struct file *listener, struct socket *socket, struct file *file, void *user,
                       int *user_size) {
    struct socket *accepted;
    int status = socket_accept(socket, &accepted, socket_waits(listener, 0));
    if (status < 0)
        return status;
    socket_file_set(file, accepted);
    return tell_peer(accepted, user, user_size);
}

// What the new socket needs is taken first: for want of it no connection may get lost.
long sys_accept4(int descriptor, void *user, int *user_size, int flags) {
    struct socket *socket;
    struct file *file = NULL;
    int status;
    if (flags & ~TYPE_FLAGS)
        return -EINVAL;
    struct file *listener = socket_file(descriptor, &socket, &status);
    if (listener == NULL)
        return status;
    status = descriptor_free(files_current()) ? socket_file_new((unsigned)flags, &file) : -EMFILE;
    if (status == 0)
        status = accept_into(listener, socket, file, user, user_size);
    file_put(listener);
    if (status < 0 && file != NULL)
        file_put(file);
    return status < 0 ? status : descriptor_install(file, (unsigned)flags, 0);
}

long sys_accept(int descriptor, void *user, int *user_size) {
    return sys_accept4(descriptor, user, user_size, 0);
}

// --- Names ---

static long name_out(int descriptor, bool peer, void *user, int *user_size) {
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof(name);
    struct socket *socket;
    int status;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    network_lock();
    status = socket->protocol->name(socket, peer, &name, &size);
    network_unlock();
    file_put(file);
    return status < 0 ? status : address_out(&name, size, user, user_size);
}

long sys_getsockname(int descriptor, void *address, int *size) {
    return name_out(descriptor, false, address, size);
}

long sys_getpeername(int descriptor, void *address, int *size) {
    return name_out(descriptor, true, address, size);
}
