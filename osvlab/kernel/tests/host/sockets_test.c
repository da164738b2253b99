// Sockets as the system calls show them, with the real network thread, under the sanitizers:
// random operations of many kinds, with and without memory, after which nothing may be left.

#include "files_shim.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "network/layers.h"
#include "network/network.h"
#include "syscalls_files.h"
#include "syscalls_network.h"

bool dhcp_receive(struct packet *packet) {
    (void)packet;
    return false;
}

// --- Chance ---

static __thread u64 chance = 1;

static unsigned pick(unsigned limit) {
    chance = chance * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(chance >> 33) % limit;
}

// --- Random operations on a handful of sockets ---

enum { SLOTS = 16 };

static int plain; // a file whose reads do not wait

struct world {
    int fds[SLOTS]; // -1: none
    unsigned number;
    int epoll;
};

static struct sockaddr_un name_of(struct world *world, unsigned slot, int *size) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    bool abstract = slot % 2;
    int length = snprintf(name.sun_path + abstract, 32, "/socket-%u-%u", world->number, slot % 6);
    *size = (int)offsetof(struct sockaddr_un, sun_path) + length + 1;
    return name;
}

static struct sockaddr_in port_of(struct world *world, unsigned slot) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = swap16((u16)(5000 + world->number * 10 + slot % 4)),
                                .sin_addr.s_addr = swap32(INADDR_LOOPBACK)};
}

static void put(struct world *world, unsigned slot, long fd) {
    if (fd < 0)
        return;
    if (world->fds[slot] >= 0)
        CHECK(sys_close(world->fds[slot]), 0);
    world->fds[slot] = (int)fd;
    struct epoll_event event = {.events = pick(2) ? EPOLLIN | EPOLLOUT : EPOLLIN | EPOLLET};
    if (pick(3) == 0)
        sys_epoll_ctl(world->epoll, EPOLL_CTL_ADD, (int)fd, &event);
}

static void make_socket(struct world *world) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int ends[2], type = types[pick(3)] | SOCK_NONBLOCK;
    switch (pick(4)) {
    case 0:
        put(world, pick(SLOTS), sys_socket(AF_UNIX, type, 0));
        break;
    case 1:
        if (pick(4) == 0)
            put(world, pick(SLOTS), sys_socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0));
        else
            put(world, pick(SLOTS), sys_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        break;
    default:
        if (sys_socketpair(AF_UNIX, type, 0, ends) == 0) {
            put(world, pick(SLOTS), ends[0]);
            put(world, pick(SLOTS), ends[1]);
        }
    }
}

// A message with up to three descriptors, which may be those of sockets.
static void send_something(struct world *world, int fd) {
    static const u8 data[9000];
    union {
        char bytes[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec pieces[2] = {{(void *)data, pick(200)}, {(void *)data, pick(4) ? 0 : pick(9000)}};
    struct msghdr header = {.msg_iov = pieces, .msg_iovlen = 2};
    struct sockaddr_in port;
    struct sockaddr_un name;
    int size;
    if (pick(3) == 0) {
        unsigned count = 1 + pick(3);
        int *numbers = (int *)CMSG_DATA(&control.align);
        for (unsigned i = 0; i < count; i++)
            numbers[i] = pick(3) ? world->fds[pick(SLOTS)] : plain;
        control.align =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    if (pick(3) == 0) {
        name = name_of(world, pick(8), &size);
        port = port_of(world, pick(8));
        bool inet = pick(2);
        header.msg_name = inet ? (void *)&port : (void *)&name;
        header.msg_namelen = inet ? sizeof(port) : (socklen_t)size;
    }
    sys_sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// A dump, or what looks a little like one.
static void ask_netlink(int fd) {
    u32 request[5] = {pick(8) ? 20 : pick(40),
                      (pick(3) ? 18 + 4 * pick(2) : pick(30)) | 0x301U << 16, 7, 0, pick(3)};
    sys_sendto(fd, request, pick(8) ? 20 : pick(20), MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

static void receive_something(struct world *world, int fd) {
    static __thread u8 data[9000];
    union {
        char bytes[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {data, pick(9000)};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = pick(3) ? sizeof(control) : pick(24)};
    int flags = MSG_DONTWAIT | (pick(4) ? 0 : MSG_PEEK);
    if (pick(4) == 0) {
        sys_read(fd, data, pick(9000));
        return;
    }
    if (sys_recvmsg(fd, &header, flags) < 0)
        return;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (c == NULL || c->cmsg_type != SCM_RIGHTS)
        return;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++)
        put(world, pick(SLOTS), ((int *)CMSG_DATA(c))[i]);
}

static void name_or_connect(struct world *world, int fd) {
    int size;
    struct sockaddr_un name = name_of(world, pick(8), &size);
    struct sockaddr_in port = port_of(world, pick(8));
    struct sockaddr_storage out;
    bool inet = pick(2);
    const void *address = inet ? (const void *)&port : &name;
    int address_size = inet ? (int)sizeof(port) : size, out_size = pick(130);
    switch (pick(6)) {
    case 0:
        sys_bind(fd, address, address_size);
        break;
    case 1:
        sys_listen(fd, (int)pick(4));
        break;
    case 2:
        put(world, pick(SLOTS), sys_accept4(fd, &out, &out_size, SOCK_NONBLOCK));
        break;
    case 3:
        sys_getsockname(fd, &out, &out_size);
        sys_getpeername(fd, &out, &out_size);
        break;
    case 4:
        if (!inet)
            sys_unlink(name.sun_path[0] ? name.sun_path : "/nothing");
        break;
    default:
        sys_connect(fd, address, address_size);
    }
}

static void configure(int fd) {
    static const int names[] = {SO_REUSEADDR, SO_REUSEPORT, SO_RCVBUF,   SO_SNDBUF,
                                SO_PASSCRED,  SO_ERROR,     SO_PEERCRED, SO_RCVLOWAT};
    int name = names[pick(8)], value[4] = {(int)pick(20000)}, size = sizeof(value);
    sys_setsockopt(fd, SOL_SOCKET, name, value, sizeof(int));
    sys_getsockopt(fd, SOL_SOCKET, name, value, &size);
}

static void step(struct world *world) {
    struct epoll_event events[4];
    unsigned slot = pick(SLOTS);
    int fd = world->fds[slot];
    switch (pick(17)) {
    case 0 ... 1:
        make_socket(world);
        break;
    case 2:
        if (fd >= 0)
            CHECK(sys_close(fd), 0);
        world->fds[slot] = -1;
        break;
    case 3 ... 6:
        send_something(world, fd);
        break;
    case 7 ... 10:
        receive_something(world, fd);
        break;
    case 11 ... 12:
        name_or_connect(world, fd);
        break;
    case 13:
        if (pick(4) == 0)
            sys_shutdown(fd, (int)pick(3));
        break;
    case 14:
        configure(fd);
        break;
    case 15:
        ask_netlink(fd);
        break;
    default:
        sys_epoll_wait(world->epoll, events, 4, 0);
    }
}

static void run(struct world *world, unsigned steps) {
    world->epoll = (int)sys_epoll_create1(0);
    for (unsigned i = 0; i < SLOTS; i++)
        world->fds[i] = -1;
    while (steps-- > 0)
        step(world);
    shim_memory_fails_after(-1);
    for (unsigned i = 0; i < SLOTS; i++)
        if (world->fds[i] >= 0)
            CHECK(sys_close(world->fds[i]), 0);
    if (world->epoll >= 0)
        CHECK(sys_close(world->epoll), 0);
    for (unsigned slot = 0; slot < 6; slot += 2) {
        int size;
        sys_unlink(name_of(world, slot, &size).sun_path);
    }
}

static void *run_in_thread(void *number) {
    struct world world = {.number = (unsigned)(uintptr_t)number};
    chance = world.number + 100;
    run(&world, 20000);
    return NULL;
}

// --- Nothing is left ---

static void settle(void) { // what is on its way over the loopback interface arrives
    size_t left = 1;
    for (int tries = 0; left > 0; tries++) {
        CHECK(tries < 5000, true);
        usleep(1000);
        network_lock();
        left = packets_in_use();
        network_unlock();
    }
}

static size_t objects_at_rest(void) {
    settle();
    return shim_objects();
}

int main(int count, char **arguments) {
    unsigned seed = count > 1 ? (unsigned)atoi(arguments[1]) : 1;
    pthread_t threads[3];
    shim_start(16384);
    plain = (int)sys_memfd_create("plain", 0);
    struct world world = {.number = 0};
    chance = seed;
    run(&world, 3000); // what is allocated once stays
    size_t pages = shim_pages_used(), objects = objects_at_rest();

    run(&world, 200000);
    CHECK(objects_at_rest(), objects);
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, run_in_thread, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK(objects_at_rest(), objects);
    for (unsigned i = 0; i < 2000; i++) { // memory runs out here and there
        chance = seed + i;
        run(&world, 20 + i % 30);
        struct world again = {.number = 0};
        shim_memory_fails_after(i % 50);
        run(&again, 30);
    }
    CHECK(objects_at_rest(), objects);
    CHECK(shim_pages_used() <= pages + 32, true); // what the pool of packets keeps
    puts("ok");
    return 0;
}
