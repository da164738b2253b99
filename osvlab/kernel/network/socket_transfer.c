// System calls that send and receive messages.

#include "syscalls_network.h"

#include "control.h"
#include "files/vnode.h"
#include "socket_address.h"
#include "socket_layer.h"
#include "syscalls.h"

#define TRANSFER_MAX 0x7ffff000UL // as for read and write
#define PIECES_FAST 8
#define PIECES_MAX 1024
#define MESSAGES_MAX 1024

// --- One piece ---

long sys_sendto(int descriptor, const void *data, size_t size, int flags, const void *address,
                int address_size) {
    struct iovec piece = {(void *)data, MIN(size, TRANSFER_MAX)};
    struct message message;
    struct socket *socket;
    int error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    message_init(&message, &piece, 1, flags);
    long status = address == NULL ? 0 : address_in(&message.address, address, address_size);
    if (status == 0) {
        message.address_size = address == NULL ? 0 : (socklen_t)address_size;
        status = socket_send(socket, &message, socket_waits(file, flags));
    }
    file_put(file);
    return status;
}

long sys_recvfrom(int descriptor, void *data, size_t size, int flags, void *address,
                  int *address_size) {
    struct iovec piece = {data, MIN(size, TRANSFER_MAX)};
    struct message message;
    struct socket *socket;
    int error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    message_init(&message, &piece, 1, flags);
    long status = socket_receive(socket, &message, socket_waits(file, flags));
    file_put(file);
    if (status >= 0 && address != NULL) {
        error = address_out(&message.address, message.address_size, address, address_size);
        status = error < 0 ? error : status;
    }
    return status;
}

// --- Headers ---

// A message header with its pieces, copied in.
struct header {
    struct msghdr user;
    struct iovec fast[PIECES_FAST], *pieces;
};

static void header_done(struct header *header) {
    if (header->pieces != header->fast)
        kfree(header->pieces);
}

// As Linux: what is too long is cut, what is negative is refused.
static int check_pieces(struct iovec *pieces, size_t count) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if ((i64)pieces[i].iov_len < 0)
            return -EINVAL;
        pieces[i].iov_len = MIN(pieces[i].iov_len, TRANSFER_MAX - total);
        total += pieces[i].iov_len;
    }
    return 0;
}

static int header_in(struct header *header, const struct msghdr *user) {
    header->pieces = header->fast;
    if (user_read(&header->user, user, sizeof(*user)) < 0)
        return -EFAULT;
    struct msghdr *h = &header->user;
    size_t count = (size_t)h->msg_iovlen;
    if ((int)h->msg_namelen < 0)
        return -EINVAL;
    if (count > PIECES_MAX)
        return -EMSGSIZE;
    if (count > PIECES_FAST)
        header->pieces = kzalloc(count * sizeof(struct iovec));
    if (header->pieces == NULL)
        return -ENOMEM;
    int status = user_read(header->pieces, h->msg_iov, count * sizeof(struct iovec));
    return status < 0 ? status : check_pieces(header->pieces, count);
}

// --- sendmsg ---

static long send_header(struct file *file, struct socket *socket, struct header *header,
                        int flags) {
    struct msghdr *h = &header->user;
    struct control control = {0};
    struct message message;
    message_init(&message, header->pieces, (size_t)h->msg_iovlen, flags);
    if (h->msg_name != NULL) {
        message.address_size = MIN(h->msg_namelen, (socklen_t)sizeof(message.address));
        if (address_in(&message.address, h->msg_name, (int)message.address_size) < 0)
            return -EFAULT;
    }
    if (h->msg_control != NULL && h->msg_controllen > 0) {
        int status =
            control_in(&control, h->msg_control, h->msg_controllen, socket->protocol->domain);
        if (status < 0)
            return status;
        message.control = &control;
    }
    long status = socket_send(socket, &message, socket_waits(file, flags));
    rights_put_aside(control.rights); // what the protocol did not take
    rights_close();
    return status;
}

static long send_message(struct file *file, struct socket *socket, const struct msghdr *user,
                         int flags) {
    struct header header;
    long status = header_in(&header, user);
    if (status == 0)
        status = send_header(file, socket, &header, flags);
    header_done(&header);
    return status;
}

long sys_sendmsg(int descriptor, const struct msghdr *user, int flags) {
    struct socket *socket;
    int error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    long status = send_message(file, socket, user, flags);
    file_put(file);
    return status;
}

long sys_sendmmsg(int descriptor, struct mmsghdr *user, unsigned count, int flags) {
    struct socket *socket;
    int error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    long status = 0;
    unsigned done = 0;
    for (; done < MIN(count, MESSAGES_MAX); done++) {
        status = send_message(file, socket, &user[done].msg_hdr, flags);
        unsigned length = (unsigned)status;
        if (status >= 0)
            status = user_write(&user[done].msg_len, &length, sizeof(length));
        if (status < 0)
            break;
    }
    file_put(file);
    return done > 0 ? (long)done : status;
}

// --- recvmsg ---

static int header_out(const struct header *header, struct message *message, struct msghdr *user) {
    const struct msghdr *h = &header->user;
    int status = 0, flags = message->flags_out | (message->flags & MSG_CMSG_CLOEXEC);
    long used = control_out(message->control, h->msg_control,
                            h->msg_control == NULL ? 0 : h->msg_controllen, message->flags, &flags);
    if (used < 0)
        return (int)used;
    if (h->msg_name != NULL)
        status =
            user_write(h->msg_name, &message->address, MIN(h->msg_namelen, message->address_size));
    socklen_t name_size = h->msg_name == NULL ? h->msg_namelen : message->address_size;
    socklen_t control_size = (socklen_t)used;
    if (status < 0 || user_write(&user->msg_namelen, &name_size, sizeof(name_size)) < 0 ||
        user_write(&user->msg_controllen, &control_size, sizeof(control_size)) < 0 ||
        user_write(&user->msg_flags, &flags, sizeof(flags)) < 0)
        return -EFAULT;
    return 0;
}

static long receive_message(struct file *file, struct socket *socket, struct msghdr *user,
                            int flags) {
    struct header header;
    struct control control = {0};
    struct message message;
    long status = header_in(&header, user);
    if (status == 0) {
        message_init(&message, header.pieces, (size_t)header.user.msg_iovlen, flags);
        message.control = &control;
        status = socket_receive(socket, &message, socket_waits(file, flags));
        int fault = status < 0 ? 0 : header_out(&header, &message, user);
        status = fault < 0 ? fault : status;
        rights_put_aside(control.rights);
        rights_close();
    }
    header_done(&header);
    return status;
}

long sys_recvmsg(int descriptor, struct msghdr *user, int flags) {
    struct socket *socket;
    int error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    long status = receive_message(file, socket, user, flags);
    file_put(file);
    return status;
}

// The timeout is looked at after each message, as Linux does (recvmmsg(2), BUGS).
static long receive_messages(struct file *file, struct socket *socket, struct mmsghdr *user,
                             unsigned count, int flags, u64 deadline) {
    long status = 0;
    unsigned done = 0;
    while (done < MIN(count, MESSAGES_MAX)) {
        status = receive_message(file, socket, &user[done].msg_hdr, flags & ~MSG_WAITFORONE);
        unsigned length = (unsigned)status;
        if (status >= 0)
            status = user_write(&user[done].msg_len, &length, sizeof(length));
        if (status < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline != NEVER && clock_monotonic() >= deadline)
            break;
    }
    if (done > 0 && status < 0 && status != -EAGAIN && status > -EINTR_FINAL && status != -EINTR)
        socket->error = (int)-status; // for the next call
    return done > 0 ? (long)done : status;
}

long sys_recvmmsg(int descriptor, struct mmsghdr *user, unsigned count, int flags,
                  struct timespec *timeout) {
    struct socket *socket;
    u64 deadline = NEVER;
    int error = poll_timeout_in(timeout, &deadline);
    if (error < 0)
        return error;
    struct file *file = socket_file(descriptor, &socket, &error);
    if (file == NULL)
        return error;
    long status = receive_messages(file, socket, user, count, flags, deadline);
    file_put(file);
    return status;
}
