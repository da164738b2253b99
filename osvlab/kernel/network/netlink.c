// AF_NETLINK, as much of it as libraries use to list interfaces and their addresses: dumps of
// RTM_GETLINK and RTM_GETADDR (netlink(7), rtnetlink(7); RFC 3549). getifaddrs and if_nameindex of
// every libc are made of these, and net.Interfaces of Go.
//
// Invariant: a request is answered at once, by messages that wait in the socket. A dump ends with
// NLMSG_DONE; what is not known here is answered with an error, and nothing is ever announced.

#include "socket_layer.h"

#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "interface.h"
#include "ipv4.h"
#include "memory.h"
#include "thread.h"

// <linux/netlink.h>, <linux/rtnetlink.h>, which no libc brings along.
struct netlink_address {
    u16 family, unused;
    u32 port, groups;
};
struct netlink_header {
    u32 length;
    u16 type, flags;
    u32 sequence, port;
};
struct link_part {
    u8 family, unused;
    u16 type;
    int index;
    u32 flags, change;
};
struct address_part {
    u8 family, prefix, flags, scope;
    u32 index;
};
struct attribute {
    u16 length, type;
};
enum { MESSAGE_ERROR = 2, MESSAGE_DONE, NEW_LINK = 16, GET_LINK = 18, NEW_ADDRESS = 20 };
enum { GET_ADDRESS = 22 };
enum { FLAG_REQUEST = 1, FLAG_MULTI = 2, FLAG_DUMP = 0x300 };
enum { LINK_ADDRESS = 1, LINK_BROADCAST, LINK_NAME, LINK_MTU };
enum { ADDRESS_ADDRESS = 1, ADDRESS_LOCAL, ADDRESS_LABEL, ADDRESS_BROADCAST };
enum { PERMANENT = 0x80, SCOPE_HOST = 254, HARDWARE_ETHERNET = 1, HARDWARE_LOOPBACK = 772 };

#define REQUEST_MOST 4096
#define REPLY_MOST 256   // bytes of one message
#define REPLIES_MOST 256 // that wait

struct netlink {
    u32 port; // 0: not bound
    struct list replies;
    size_t count;
};

struct reply {
    struct list link;
    u32 length;
    u8 bytes[REPLY_MOST] __attribute__((aligned(4)));
};

// --- Building messages ---

static void *put(struct reply *reply, size_t size) {
    void *at = reply->bytes + reply->length;
    reply->length += (u32)ALIGN_UP(size, 4UL);
    return at;
}

static void put_attribute(struct reply *reply, u16 type, const void *data, size_t size) {
    struct attribute *a = put(reply, sizeof(*a) + size);
    *a = (struct attribute){.length = (u16)(sizeof(*a) + size), .type = type};
    memcpy(a + 1, data, size);
}

static void put_text(struct reply *reply, u16 type, const char *text) {
    put_attribute(reply, type, text, strlen(text) + 1);
}

// An answer to a request, empty so far. NULL: no memory, or nobody reads the answers.
static struct reply *begin(struct netlink *netlink, const struct netlink_header *request, u16 type,
                           u16 flags) {
    struct reply *reply = netlink->count < REPLIES_MOST ? kzalloc(sizeof(*reply)) : NULL;
    if (reply == NULL)
        return NULL;
    struct netlink_header *header = put(reply, sizeof(*header));
    *header = (struct netlink_header){
        .type = type, .flags = flags, .sequence = request->sequence, .port = netlink->port};
    list_append(&netlink->replies, &reply->link);
    netlink->count++;
    return reply;
}

static void finish(struct reply *reply) {
    ((struct netlink_header *)reply->bytes)->length = reply->length;
}

// --- Dumps ---

struct dump {
    struct netlink *netlink;
    const struct netlink_header *request;
    int status;
};

static void dump_link(struct interface *interface, void *argument) {
    struct dump *dump = argument;
    static const u8 everybody[6] = {255, 255, 255, 255, 255, 255};
    struct reply *reply = begin(dump->netlink, dump->request, NEW_LINK, FLAG_MULTI);
    if (reply == NULL) {
        dump->status = -ENOBUFS;
        return;
    }
    bool loopback = interface->flags & IFF_LOOPBACK;
    struct link_part *part = put(reply, sizeof(*part));
    *part = (struct link_part){.type = loopback ? HARDWARE_LOOPBACK : HARDWARE_ETHERNET,
                               .index = interface->index,
                               .flags = interface->flags};
    put_text(reply, LINK_NAME, interface->name);
    put_attribute(reply, LINK_MTU, &interface->mtu, sizeof(interface->mtu));
    put_attribute(reply, LINK_ADDRESS, interface->mac, sizeof(interface->mac));
    put_attribute(reply, LINK_BROADCAST, loopback ? interface->mac : everybody, 6);
    finish(reply);
}

static void dump_address(struct interface *interface, void *argument) {
    struct dump *dump = argument;
    if (interface->address == 0)
        return;
    struct reply *reply = begin(dump->netlink, dump->request, NEW_ADDRESS, FLAG_MULTI);
    if (reply == NULL) {
        dump->status = -ENOBUFS;
        return;
    }
    bool loopback = interface->flags & IFF_LOOPBACK;
    struct address_part *part = put(reply, sizeof(*part));
    *part = (struct address_part){.family = AF_INET,
                                  .prefix = (u8)__builtin_popcount(interface->netmask),
                                  .flags = PERMANENT,
                                  .scope = loopback ? SCOPE_HOST : 0,
                                  .index = (u32)interface->index};
    ipv4_address broadcast = interface->address | ~interface->netmask;
    put_attribute(reply, ADDRESS_ADDRESS, &interface->address, 4);
    put_attribute(reply, ADDRESS_LOCAL, &interface->address, 4);
    if (!loopback)
        put_attribute(reply, ADDRESS_BROADCAST, &broadcast, 4);
    put_text(reply, ADDRESS_LABEL, interface->name);
    finish(reply);
}

// --- Requests ---

static int answer_error(struct netlink *netlink, const struct netlink_header *request, int error) {
    struct reply *reply = begin(netlink, request, MESSAGE_ERROR, 0);
    if (reply == NULL)
        return -ENOBUFS;
    memcpy(put(reply, sizeof(error)), &error, sizeof(error));
    memcpy(put(reply, sizeof(*request)), request, sizeof(*request));
    finish(reply);
    return 0;
}

static int answer_dump(struct netlink *netlink, const struct netlink_header *request, u8 family) {
    struct dump dump = {netlink, request, 0};
    int none = 0;
    if (request->type == GET_LINK)
        interfaces_each(dump_link, &dump);
    else if (family == AF_UNSPEC || family == AF_INET)
        interfaces_each(dump_address, &dump);
    struct reply *done = begin(netlink, request, MESSAGE_DONE, FLAG_MULTI);
    if (done == NULL || dump.status < 0)
        return -ENOBUFS;
    memcpy(put(done, sizeof(none)), &none, sizeof(none));
    finish(done);
    return 0;
}

static int answer(struct netlink *netlink, const struct netlink_header *request) {
    if (!(request->flags & FLAG_REQUEST))
        return 0;
    bool known = request->type == GET_LINK || request->type == GET_ADDRESS;
    if (!known || !(request->flags & FLAG_DUMP) || request->length <= sizeof(*request))
        return answer_error(netlink, request, -EOPNOTSUPP);
    return answer_dump(netlink, request, *(const u8 *)(request + 1));
}

static int answer_all(struct netlink *netlink, const u8 *bytes, size_t size) {
    int status = 0;
    while (status == 0 && size >= sizeof(struct netlink_header)) {
        const struct netlink_header *request = (const void *)bytes;
        if (request->length < sizeof(*request) || request->length > size)
            return 0; // as Linux: what makes no sense is not answered
        status = answer(netlink, request);
        size_t step = MIN(ALIGN_UP((size_t)request->length, 4UL), size);
        bytes += step;
        size -= step;
    }
    return status;
}

// --- The socket ---

static int netlink_create(struct socket *socket) {
    struct netlink *netlink = kzalloc(sizeof(*netlink));
    if (netlink == NULL)
        return -ENOMEM;
    list_init(&netlink->replies);
    socket->connection = netlink;
    return 0;
}

static void discard(struct netlink *netlink, struct reply *reply) {
    list_remove(&reply->link);
    netlink->count--;
    kfree(reply);
}

static void netlink_close(struct socket *socket) {
    struct netlink *netlink = socket->connection;
    while (!list_empty(&netlink->replies))
        discard(netlink, LIST_FIRST(&netlink->replies, struct reply, link));
    kfree(netlink);
}

static void bind_automatically(struct netlink *netlink) {
    static u32 last;
    netlink->port = (u32)current_process()->pid | ++last << 16;
}

static int netlink_bind(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct netlink *netlink = socket->connection;
    struct netlink_address name;
    if (size < sizeof(name) || address->sa_family != AF_NETLINK)
        return -EINVAL;
    memcpy(&name, address, sizeof(name));
    if (netlink->port != 0 && name.port != netlink->port)
        return -EINVAL;
    netlink->port = name.port;
    if (netlink->port == 0)
        bind_automatically(netlink);
    return 0;
}

static int netlink_connect(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    (void)socket;
    return size < sizeof(struct netlink_address) || address->sa_family != AF_NETLINK ? -EINVAL : 0;
}

static int netlink_name(struct socket *socket, bool peer, struct sockaddr_storage *out,
                        socklen_t *size) {
    const struct netlink *netlink = socket->connection;
    struct netlink_address name = {.family = AF_NETLINK, .port = peer ? 0 : netlink->port};
    memcpy(out, &name, sizeof(name));
    *size = sizeof(name);
    return 0;
}

static long netlink_send(struct socket *socket, struct message *message) {
    struct netlink *netlink = socket->connection;
    if (message->size > REQUEST_MOST)
        return -EMSGSIZE;
    u8 *bytes = kzalloc(message->size + 1);
    if (bytes == NULL)
        return -ENOMEM;
    if (netlink->port == 0)
        bind_automatically(netlink);
    int status = message_read(message, bytes, message->size);
    if (status == 0)
        status = answer_all(netlink, bytes, message->size);
    kfree(bytes);
    socket_readable(socket);
    return status < 0 ? status : (long)message->size;
}

static long netlink_receive(struct socket *socket, struct message *message) {
    struct netlink *netlink = socket->connection;
    struct reply *reply = LIST_FIRST(&netlink->replies, struct reply, link);
    if (reply == NULL)
        return -EAGAIN;
    size_t length = reply->length;
    netlink_name(socket, true, &message->address, &message->address_size);
    int status = message_write(message, reply->bytes, length);
    if (message->done < length)
        message->flags_out |= MSG_TRUNC;
    if (!(message->flags & MSG_PEEK))
        discard(netlink, reply);
    return status < 0 ? status : (long)(message->flags & MSG_TRUNC ? length : message->done);
}

static unsigned netlink_poll(struct socket *socket) {
    const struct netlink *netlink = socket->connection;
    return POLLOUT | POLLWRNORM | (list_empty(&netlink->replies) ? 0 : POLLIN | POLLRDNORM);
}

const struct protocol netlink_protocol = {
    .domain = AF_NETLINK,
    .type = SOCK_RAW,
    .create = netlink_create,
    .close = netlink_close,
    .bind = netlink_bind,
    .connect = netlink_connect,
    .send = netlink_send,
    .receive = netlink_receive,
    .name = netlink_name,
    .poll = netlink_poll,
};
