// Socket options: those of every socket (socket(7)); the rest is the protocol's.

#include "syscalls_network.h"

#include <netinet/in.h>
#include <sys/time.h>

#include "files/vnode.h"
#include "socket_layer.h"

#define OPTION_MAX 256 // bytes of a value, longer than any that is known

// Linux doubles the sizes that are set, for its own bookkeeping, and shows the doubled value.
#define BUFFER_DEFAULT 212992U // net.core.rmem_default, and rmem_max
#define RECEIVE_LEAST 2304U
#define SEND_LEAST 4608U

static bool *flag_of(struct socket *socket, int name) {
    switch (name) {
    case SO_REUSEADDR:
        return &socket->reuse_address;
    case SO_REUSEPORT:
        return &socket->reuse_port;
    case SO_KEEPALIVE:
        return &socket->keep_alive;
    case SO_BROADCAST:
        return &socket->broadcast;
    default:
        return NULL;
    }
}

static u64 *timeout_of(struct socket *socket, int name) {
    return name == SO_RCVTIMEO   ? &socket->receive_timeout
           : name == SO_SNDTIMEO ? &socket->send_timeout
                                 : NULL;
}

// What may be set and changes nothing here.
static bool has_no_effect(int name) {
    return name == SO_PRIORITY || name == SO_OOBINLINE || name == SO_DEBUG || name == SO_NO_CHECK ||
           name == SO_DONTROUTE;
}

// --- Setting ---

static int set_timeout(u64 *timeout, const void *value, socklen_t size) {
    struct timeval time;
    if (size < sizeof(time))
        return -EINVAL;
    memcpy(&time, value, sizeof(time));
    if (time.tv_usec < 0 || time.tv_usec >= 1000000)
        return -EDOM;
    if (time.tv_sec < 0)
        *timeout = 0; // as Linux: no waiting at all
    else if ((time.tv_sec == 0 && time.tv_usec == 0) || time.tv_sec > 1000000000)
        *timeout = NEVER;
    else
        *timeout = (u64)time.tv_sec * SECOND + (u64)time.tv_usec * MICROSECOND;
    return 0;
}

static int set_linger(struct socket *socket, const void *value, socklen_t size) {
    if (size < sizeof(socket->linger))
        return -EINVAL;
    memcpy(&socket->linger, value, sizeof(socket->linger));
    return 0;
}

static int set_number(struct socket *socket, int name, int number) {
    bool *flag = flag_of(socket, name);
    if (flag != NULL) {
        *flag = number != 0;
        return 0;
    }
    unsigned doubled = 2 * MIN((unsigned)number, BUFFER_DEFAULT);
    switch (name) {
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
        socket->receive_buffer = MAX(doubled, RECEIVE_LEAST);
        return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
        socket->send_buffer = MAX(doubled, SEND_LEAST);
        return 0;
    case SO_RCVLOWAT:
        socket->receive_low = number <= 0 ? (number < 0 ? INT32_MAX : 1) : (u32)number;
        return 0;
    default:
        return has_no_effect(name) ? 0 : -ENOPROTOOPT;
    }
}

// The protocol sees every option, first: it may have something of its own to do about one.
static int set_option(struct socket *socket, int level, int name, const void *value,
                      socklen_t size) {
    int status = -ENOPROTOOPT;
    if (socket->protocol->set_option != NULL)
        status = socket->protocol->set_option(socket, level, name, value, size);
    else if (level != SOL_SOCKET && socket->protocol->domain != AF_INET)
        return -EOPNOTSUPP;
    if (status == -ENOPROTOOPT && level == IPPROTO_IP && socket->protocol->domain == AF_INET)
        return ip_set_option(socket, name, value, size);
    if (status != -ENOPROTOOPT || level != SOL_SOCKET)
        return status;
    if (timeout_of(socket, name) != NULL)
        return set_timeout(timeout_of(socket, name), value, size);
    if (name == SO_LINGER)
        return set_linger(socket, value, size);
    int number;
    if (size < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    return set_number(socket, name, number);
}

long sys_setsockopt(int descriptor, int level, int name, const void *user, int size) {
    u8 value[OPTION_MAX] __attribute__((aligned(8)));
    struct socket *socket;
    int status;
    if (size < 0)
        return -EINVAL;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    socklen_t length = MIN((socklen_t)size, OPTION_MAX);
    status = user_read(value, user, length);
    if (status == 0) {
        network_lock();
        status = set_option(socket, level, name, value, length);
        socket_refresh(socket);
        network_unlock();
    }
    file_put(file);
    return status;
}

// --- Getting ---

static int get_timeout(u64 timeout, void *value, socklen_t *size) {
    struct timeval time = {0};
    if (timeout != NEVER)
        time = (struct timeval){.tv_sec = (time_t)(timeout / SECOND),
                                .tv_usec = (long)(timeout % SECOND / MICROSECOND)};
    memcpy(value, &time, sizeof(time));
    *size = sizeof(time);
    return 0;
}

static int get_number(struct socket *socket, int name, int *number) {
    const struct protocol *protocol = socket->protocol;
    const bool *flag = flag_of(socket, name);
    switch (name) {
    case SO_ERROR:
        *number = -socket_take_error(socket);
        return 0;
    case SO_TYPE:
        *number = protocol->type;
        return 0;
    case SO_DOMAIN:
        *number = protocol->domain;
        return 0;
    case SO_PROTOCOL:
        *number = protocol->number;
        return 0;
    case SO_ACCEPTCONN:
        *number = socket->listening;
        return 0;
    case SO_RCVBUF:
        *number = (int)(socket->receive_buffer != 0 ? socket->receive_buffer : BUFFER_DEFAULT);
        return 0;
    case SO_SNDBUF:
        *number = (int)(socket->send_buffer != 0 ? socket->send_buffer : BUFFER_DEFAULT);
        return 0;
    case SO_RCVLOWAT:
        *number = (int)socket->receive_low;
        return 0;
    case SO_SNDLOWAT:
        *number = 1;
        return 0;
    default:
        *number = flag != NULL && *flag;
        return flag != NULL || has_no_effect(name) ? 0 : -ENOPROTOOPT;
    }
}

static int get_option(struct socket *socket, int level, int name, void *value, socklen_t *size) {
    int status = -ENOPROTOOPT;
    if (socket->protocol->get_option != NULL)
        status = socket->protocol->get_option(socket, level, name, value, size);
    else if (level != SOL_SOCKET && socket->protocol->domain != AF_INET)
        return -EOPNOTSUPP;
    if (status == -ENOPROTOOPT && level == IPPROTO_IP && socket->protocol->domain == AF_INET)
        return ip_get_option(socket, name, value, size);
    if (status != -ENOPROTOOPT || level != SOL_SOCKET)
        return status;
    if (timeout_of(socket, name) != NULL)
        return get_timeout(*timeout_of(socket, name), value, size);
    if (name == SO_LINGER) {
        memcpy(value, &socket->linger, sizeof(socket->linger));
        *size = sizeof(socket->linger);
        return 0;
    }
    *size = sizeof(int);
    return get_number(socket, name, value);
}

long sys_getsockopt(int descriptor, int level, int name, void *user, int *user_size) {
    u8 value[OPTION_MAX] __attribute__((aligned(8)));
    struct socket *socket;
    int status, room;
    struct file *file = socket_file(descriptor, &socket, &status);
    if (file == NULL)
        return status;
    status = user_read(&room, user_size, sizeof(room));
    if (status == 0 && room < 0)
        status = -EINVAL;
    if (status == 0) {
        socklen_t size = MIN((socklen_t)room, OPTION_MAX);
        network_lock();
        status = get_option(socket, level, name, value, &size);
        socket_refresh(socket);
        network_unlock();
        size = MIN(size, (socklen_t)room);
        if (status == 0 &&
            (user_write(user, value, size) < 0 || user_write(user_size, &size, sizeof(size)) < 0))
            status = -EFAULT;
    }
    file_put(file);
    return status;
}
