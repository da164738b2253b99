// Control messages of sendmsg and recvmsg: between the application's buffer and struct control.
// Layout: cmsg(3). Which there are: unix(7), ip(7).
//
// Invariant: a struct rights holds one reference to each of its files. It is never let go with the
// network lock held (the last close of a socket takes that lock), nor one from inside the other
// (a queue of sockets in sockets would need a deep stack): see rights_close.

#include "control.h"

#include "files/vnode.h"
#include "socket_layer.h"

#define CONTROL_MAX 20480 // as Linux's net.core.optmem_max

// --- Files that nobody received ---

static struct list aside = LIST(aside); // under a spinlock: the network lock may be held or not
static struct spinlock aside_lock = SPINLOCK("unreceived files");
static bool closing;

void rights_put_aside(struct rights *rights) {
    if (rights == NULL)
        return;
    u64 flags = spin_lock(&aside_lock);
    list_append(&aside, &rights->link);
    spin_unlock(&aside_lock, flags);
}

static struct rights *take_aside(void) {
    u64 flags = spin_lock(&aside_lock);
    struct rights *rights = LIST_FIRST(&aside, struct rights, link);
    if (rights != NULL)
        list_remove(&rights->link);
    closing = rights != NULL;
    spin_unlock(&aside_lock, flags);
    return rights;
}

// A close in here may put more aside and come here again: that inner call leaves it to this loop.
void rights_close(void) {
    if (list_empty(&aside) || __atomic_exchange_n(&closing, true, __ATOMIC_ACQUIRE))
        return;
    for (struct rights *rights; (rights = take_aside()) != NULL;) {
        for (size_t i = 0; i < rights->count; i++)
            file_put(rights->files[i]);
        kfree(rights);
    }
}

// --- In ---

static int rights_in(struct control *out, const int *descriptors, size_t count) {
    if (count > RIGHTS_MAX)
        return -EINVAL;
    if (count == 0)
        return 0;
    if (out->rights != NULL)
        return -EINVAL;
    struct rights *rights = kzalloc(sizeof(*rights) + count * sizeof(struct file *));
    if (rights == NULL)
        return -ENOMEM;
    list_init(&rights->link);
    out->rights = rights;
    for (; rights->count < count; rights->count++) {
        struct file *file = file_of(descriptors[rights->count]);
        if (file == NULL)
            return -EBADF;
        rights->files[rights->count] = file;
    }
    return 0;
}

// `data` is `size` bytes behind a header.
static int unix_in(struct control *out, int type, const u8 *data, size_t size) {
    switch (type) {
    case SCM_RIGHTS:
        return rights_in(out, (const int *)data, size / sizeof(int));
    case SCM_CREDENTIALS:
        if (size != sizeof(out->credentials))
            return -EINVAL;
        memcpy(&out->credentials, data, size);
        out->has_credentials = true;
        return 0;
    default:
        return -EINVAL;
    }
}

static int ipv4_in(struct control *out, int type, const u8 *data, size_t size) {
    int number;
    if (type == IP_PKTINFO) {
        if (size != sizeof(out->packet))
            return -EINVAL;
        memcpy(&out->packet, data, size);
        out->has_packet = true;
        return 0;
    }
    if ((type != IP_TTL && type != IP_TOS) || size < sizeof(number))
        return -EINVAL;
    memcpy(&number, data, sizeof(number));
    if (number < (type == IP_TTL) || number > 255)
        return -EINVAL;
    *(type == IP_TTL ? &out->time_to_live : &out->service) = number;
    *(type == IP_TTL ? &out->has_time_to_live : &out->has_service) = true;
    return 0;
}

static int parse(struct control *out, const u8 *buffer, size_t size, int domain) {
    int status = 0;
    for (size_t at = 0; status == 0 && at + sizeof(struct cmsghdr) <= size;) {
        const struct cmsghdr *c = (const struct cmsghdr *)(buffer + at);
        size_t length = c->cmsg_len;
        if (length < sizeof(*c) || length > size - at)
            return -EINVAL;
        const u8 *data = buffer + at + sizeof(*c);
        if (c->cmsg_level == SOL_SOCKET && domain == AF_UNIX)
            status = unix_in(out, c->cmsg_type, data, length - sizeof(*c));
        else if (c->cmsg_level == IPPROTO_IP && domain == AF_INET)
            status = ipv4_in(out, c->cmsg_type, data, length - sizeof(*c));
        at += CMSG_ALIGN(length);
    }
    return status;
}

int control_in(struct control *out, const void *user, size_t size, int domain) {
    if (size > CONTROL_MAX)
        return -ENOBUFS;
    u8 *buffer = kzalloc(size);
    if (buffer == NULL)
        return -ENOMEM;
    int status = user_read(buffer, user, size);
    if (status == 0)
        status = parse(out, buffer, size, domain);
    kfree(buffer);
    if (status < 0) {
        rights_put_aside(out->rights);
        rights_close();
        out->rights = NULL;
    }
    return status;
}

// --- Out ---

struct writer {
    u8 *user;
    size_t room, used;
    int *flags;
    int status;
};

static void put(struct writer *writer, int level, int type, const void *data, size_t size) {
    struct cmsghdr header = {.cmsg_level = level, .cmsg_type = type};
    size_t room = writer->room - writer->used;
    if (room < sizeof(header) + (size != 0)) {
        *writer->flags |= MSG_CTRUNC;
        return;
    }
    if (room < sizeof(header) + size) {
        *writer->flags |= MSG_CTRUNC;
        size = room - sizeof(header);
    }
    header.cmsg_len = (socklen_t)(sizeof(header) + size);
    u8 *at = writer->user + writer->used;
    if (user_write(at, &header, sizeof(header)) < 0 ||
        user_write(at + sizeof(header), data, size) < 0)
        writer->status = -EFAULT;
    writer->used += MIN(CMSG_SPACE(size), room);
}

// As many files as there is room for get descriptors; the others are closed.
static void put_rights(struct writer *writer, struct control *control, unsigned open_flags) {
    int numbers[RIGHTS_MAX];
    struct rights *rights = control->rights;
    size_t room = writer->room - writer->used, count = 0;
    room = room < sizeof(struct cmsghdr) ? 0 : (room - sizeof(struct cmsghdr)) / sizeof(int);
    while (count < MIN(rights->count, room)) {
        file_get(rights->files[count]);
        numbers[count] = descriptor_install(rights->files[count], open_flags, 0);
        if (numbers[count] < 0)
            break;
        count++;
    }
    if (count < rights->count)
        *writer->flags |= MSG_CTRUNC;
    if (count > 0)
        put(writer, SOL_SOCKET, SCM_RIGHTS, numbers, count * sizeof(int));
}

long control_out(struct control *control, void *user, size_t size, int wanted, int *flags) {
    struct writer writer = {.user = user, .room = size, .flags = flags};
    if (control->has_credentials)
        put(&writer, SOL_SOCKET, SCM_CREDENTIALS, &control->credentials,
            sizeof(control->credentials));
    if (control->rights != NULL)
        put_rights(&writer, control, wanted & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
    if (control->has_packet)
        put(&writer, IPPROTO_IP, IP_PKTINFO, &control->packet, sizeof(control->packet));
    if (control->has_time_to_live)
        put(&writer, IPPROTO_IP, IP_TTL, &control->time_to_live, sizeof(int));
    if (control->has_service)
        put(&writer, IPPROTO_IP, IP_TOS, &control->service, 1);
    return writer.status < 0 ? writer.status : (long)writer.used;
}
