// What goes wrong, call by call: one line each with the result and errno. The output is compared
// with Linux's, line by line, so nothing in it may depend on the machine. Linked statically, since
// it is the kernel that is compared: musl's wrappers answer some of these themselves.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define BAD ((void *)8)

// Expressions are printed as they are written, which says what is tried.
#define TRY(expression)                                                                        \
    do {                                                                                       \
        errno = 0;                                                                             \
        long result_ = (long)(expression);                                                     \
        printf("%s = %ld %s\n", #expression, result_, result_ < 0 ? strerrorname(errno) : ""); \
    } while (0)
#define MAKE(variable, expression)                                \
    do {                                                          \
        variable = (expression);                                  \
        if (variable < 0)                                         \
            printf("%s: %s\n", #expression, strerrorname(errno)); \
    } while (0)

static const char *strerrorname(int number) {
    static const struct {
        int number;
        const char *name;
    } names[] = {
#define NAME(e) {e, #e}
        NAME(EAFNOSUPPORT),  NAME(EPROTONOSUPPORT), NAME(ESOCKTNOSUPPORT), NAME(EINVAL),
        NAME(EBADF),         NAME(ENOTSOCK),        NAME(EFAULT),          NAME(EADDRINUSE),
        NAME(EADDRNOTAVAIL), NAME(EOPNOTSUPP),      NAME(ECONNREFUSED),    NAME(EISCONN),
        NAME(ENOTCONN),      NAME(EDESTADDRREQ),    NAME(EMSGSIZE),        NAME(EPIPE),
        NAME(EAGAIN),        NAME(EPROTOTYPE),      NAME(ENOENT),          NAME(ENOTDIR),
        NAME(EACCES),        NAME(EPERM),           NAME(ENOPROTOOPT),     NAME(EDOM),
        NAME(ENODEV),        NAME(ENOTTY),          NAME(ESPIPE),          NAME(ENETUNREACH),
        NAME(ECONNRESET),    NAME(EALREADY),        NAME(EINPROGRESS),     NAME(ENOBUFS),
        NAME(EIO),           NAME(ENXIO),           NAME(ENAMETOOLONG),    NAME(ENOMEM),
    };
    static char text[16];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(text, sizeof(text), "%d", number);
    return text;
}

static void test_birth(void) {
    int ends[2];
    TRY(socket(99, SOCK_STREAM, 0));
    TRY(socket(AF_UNIX, 99, 0));
    TRY(socket(AF_UNIX, SOCK_RDM, 0));
    TRY(socket(AF_UNIX, SOCK_STREAM, 5));
    TRY(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    TRY(socket(AF_INET, SOCK_DGRAM, -1));
    TRY(socket(AF_INET, SOCK_DGRAM, 300));
    TRY(socket(AF_INET, SOCK_SEQPACKET, 0));
    TRY(socket(AF_UNIX, SOCK_STREAM | 0x4000, 0));
    TRY(socketpair(AF_INET, SOCK_DGRAM, 0, ends));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 3, ends));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD));
}

static void test_not_a_socket(void) {
    char c = 0;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct msghdr header = {0};
    socklen_t size = sizeof(name);
    int number = 0, pipes[2];
    if (pipe(pipes) < 0)
        exit(1);
    TRY(bind(99, (void *)&name, size));
    TRY(listen(99, 1));
    TRY(accept(pipes[0], NULL, NULL));
    TRY(accept4(pipes[0], NULL, NULL, 5));
    TRY(connect(pipes[0], (void *)&name, size));
    TRY(send(pipes[1], &c, 1, 0));
    TRY(recv(pipes[0], &c, 1, 0));
    TRY(sendmsg(pipes[1], &header, 0));
    TRY(recvmsg(99, &header, 0));
    TRY(shutdown(pipes[0], 9));
    TRY(getsockname(pipes[0], (void *)&name, &size));
    TRY(getpeername(99, (void *)&name, &size));
    TRY(setsockopt(pipes[0], SOL_SOCKET, SO_REUSEADDR, &number, sizeof(number)));
    TRY(getsockopt(99, SOL_SOCKET, SO_REUSEADDR, &number, &size));
    close(pipes[0]);
    close(pipes[1]);
}

static void test_unix(int type) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/osvlab-errors"},
                       other = name;
    struct sockaddr_un missing = {.sun_family = AF_UNIX, .sun_path = "/osvlab-none/x"};
    struct sockaddr_un plain = {.sun_family = AF_UNIX, .sun_path = "/tmp/osvlab-plain"};
    struct sockaddr_un below = {.sun_family = AF_UNIX, .sun_path = "/tmp/osvlab-plain/x"};
    struct sockaddr_in inet = {.sin_family = AF_INET};
    socklen_t size = sizeof(name), short_size = 1, zero = 0, negative = (socklen_t)-1;
    char text[16] = {0};
    int a, b, number;
    printf("--- AF_UNIX, type %d\n", type);
    unlink(name.sun_path);
    close(open(plain.sun_path, O_CREAT | O_RDWR, 0600));
    MAKE(a, socket(AF_UNIX, type, 0));
    MAKE(b, socket(AF_UNIX, type, 0));
    TRY(bind(a, (void *)&inet, sizeof(inet)));
    TRY(bind(a, (void *)&name, 1));
    TRY(bind(a, (void *)&name, -1));
    TRY(bind(a, (void *)&name, 200));
    TRY(bind(a, BAD, size));
    TRY(bind(a, (void *)&missing, size));
    TRY(bind(a, (void *)&plain, size));
    TRY(bind(a, (void *)&below, size));
    TRY(connect(a, (void *)&name, size));
    TRY(connect(a, (void *)&missing, size));
    TRY(connect(a, (void *)&plain, size));
    TRY(connect(a, (void *)&name, 0));
    TRY(connect(a, (void *)&name, 1));
    TRY(connect(a, (void *)&name, 2));
    TRY(connect(a, BAD, size));
    TRY(connect(a, (void *)&inet, sizeof(inet)));
    TRY(listen(a, 1));
    TRY(accept(a, NULL, NULL));
    TRY(getpeername(a, (void *)&other, &size));
    TRY(getsockname(a, (void *)&other, &size) == 0 && size == 2);
    size = sizeof(name);
    TRY(getsockname(a, (void *)&other, &negative));
    TRY(getsockname(a, (void *)&other, &short_size) == 0 && short_size == 2);
    TRY(getsockname(a, (void *)&other, &zero));
    TRY(getsockname(a, BAD, &size));
    TRY(getsockname(a, (void *)&other, BAD));
    size = sizeof(name);
    TRY(send(a, text, 1, MSG_NOSIGNAL));
    TRY(recv(a, text, 1, MSG_DONTWAIT));
    TRY(recv(a, text, 1, MSG_OOB | MSG_DONTWAIT));
    TRY(shutdown(b, 3));
    TRY(shutdown(b, -1));
    TRY(bind(a, (void *)&name, size));
    TRY(bind(a, (void *)&name, size));
    TRY(bind(b, (void *)&name, size));
    TRY(sendto(b, text, 1, MSG_NOSIGNAL, (void *)&missing, size));
    TRY(sendto(b, text, 1, MSG_NOSIGNAL, (void *)&name, 1));
    TRY(sendto(b, text, 1, MSG_NOSIGNAL, (void *)&name, -1));
    TRY(sendto(b, text, 1, MSG_NOSIGNAL, BAD, size));
    TRY(sendto(b, BAD, 1, MSG_NOSIGNAL, (void *)&name, size));
    TRY(connect(b, (void *)&name, size));
    TRY(listen(a, 1));
    TRY(accept4(a, NULL, NULL, 0x1000));
    TRY(setsockopt(a, SOL_SOCKET, 9999, &number, sizeof(number)));
    TRY(setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &number, sizeof(number)));
    TRY(getsockopt(a, IPPROTO_TCP, TCP_NODELAY, &number, &size));
    TRY(ioctl(a, 0x1234, &number));
    TRY(read(a, text, 0));
    TRY(pread(a, text, 1, 0));
    TRY(ftruncate(a, 0));
    TRY(fsync(a));
    close(a);
    close(b);
    TRY(unlink(name.sun_path));
    unlink(plain.sun_path);
}

static void test_crossed_types(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/osvlab-crossed"};
    int a, b, c;
    unlink(name.sun_path);
    MAKE(a, socket(AF_UNIX, SOCK_STREAM, 0));
    MAKE(b, socket(AF_UNIX, SOCK_DGRAM, 0));
    MAKE(c, socket(AF_UNIX, SOCK_SEQPACKET, 0));
    TRY(bind(a, (void *)&name, sizeof(name)));
    TRY(listen(a, 1));
    TRY(connect(b, (void *)&name, sizeof(name)));
    TRY(connect(c, (void *)&name, sizeof(name)));
    TRY(sendto(b, "x", 1, 0, (void *)&name, sizeof(name)));
    TRY(connect(a, (void *)&name, sizeof(name)));
    close(a);
    close(b);
    close(c);
    unlink(name.sun_path);
}

static void test_pair(int type) {
    int ends[2], left;
    char text[16];
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct iovec piece = {text, (size_t)-5}, good = {text, 1}, wild = {BAD, 4};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    printf("--- pair, type %d\n", type);
    if (socketpair(AF_UNIX, type, 0, ends) < 0)
        exit(1);
    TRY(sendto(ends[0], "x", 1, MSG_DONTWAIT, (void *)&name, sizeof(name)));
    TRY(recv(ends[1], text, 16, MSG_DONTWAIT));
    TRY(sendmsg(ends[0], &header, MSG_DONTWAIT));
    TRY(sendmsg(ends[0], BAD, 0));
    header.msg_iov = &good;
    header.msg_iovlen = 2000;
    TRY(sendmsg(ends[0], &header, MSG_DONTWAIT));
    header.msg_iov = BAD;
    header.msg_iovlen = 1;
    TRY(recvmsg(ends[0], &header, MSG_DONTWAIT));
    TRY(send(ends[0], BAD, 10, 0));
    TRY(send(ends[0], "0123456789", 10, 0));
    TRY(ioctl(ends[1], FIONREAD, &left) == 0 && left == 10);
    TRY(ioctl(ends[1], FIONREAD, BAD));
    header.msg_iov = &wild;
    TRY(recvmsg(ends[1], &header, MSG_DONTWAIT));
    TRY(recv(ends[1], text, 0, MSG_DONTWAIT));
    TRY(recv(ends[1], text, 4, MSG_DONTWAIT | MSG_PEEK));
    TRY(recv(ends[1], text, 4, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC));
    TRY(recv(ends[1], text, 16, MSG_DONTWAIT));
    TRY(recv(ends[1], text, 16, MSG_DONTWAIT));
    TRY(listen(ends[0], 1));
    TRY(shutdown(ends[0], SHUT_WR));
    TRY(send(ends[0], "x", 1, MSG_NOSIGNAL));
    TRY(recv(ends[1], text, 16, MSG_DONTWAIT));
    TRY(send(ends[1], "back", 4, MSG_NOSIGNAL));
    TRY(shutdown(ends[1], SHUT_RDWR));
    TRY(recv(ends[0], text, 16, MSG_DONTWAIT));
    TRY(recv(ends[0], text, 16, MSG_DONTWAIT));
    struct pollfd polls[2] = {{ends[0], POLLIN | POLLOUT | POLLRDHUP, 0},
                              {ends[1], POLLIN | POLLOUT | POLLRDHUP, 0}};
    TRY(poll(polls, 2, 0));
    TRY(polls[0].revents);
    TRY(polls[1].revents);
    TRY(close(ends[1]));
    TRY(send(ends[0], "x", 1, MSG_NOSIGNAL));
    TRY(recv(ends[0], text, 16, MSG_DONTWAIT));
    TRY(poll(polls, 1, 0));
    TRY(polls[0].revents);
    close(ends[0]);
}

static void test_fresh_poll(int domain, int type) {
    int fd;
    printf("--- poll of a new socket, domain %d, type %d\n", domain, type);
    MAKE(fd, socket(domain, type, 0));
    struct pollfd poll_fd = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    TRY(poll(&poll_fd, 1, 0));
    TRY(poll_fd.revents);
    close(fd);
}

static void test_udp(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x01020304)};
    struct sockaddr_in wrong = {.sin_family = AF_UNIX}, unspecified = {.sin_family = AF_UNSPEC};
    socklen_t size = sizeof(name);
    static char data[66000];
    int fd, number = 0;
    MAKE(fd, socket(AF_INET, SOCK_DGRAM, 0));
    TRY(listen(fd, 1));
    TRY(accept(fd, NULL, NULL));
    TRY(bind(fd, (void *)&name, 4));
    TRY(bind(fd, (void *)&other, size));
    TRY(bind(fd, (void *)&wrong, size));
    TRY(connect(fd, (void *)&wrong, size));
    TRY(connect(fd, (void *)&name, 4));
    TRY(connect(fd, (void *)&unspecified, size));
    TRY(getpeername(fd, (void *)&name, &size));
    TRY(send(fd, "x", 1, 0));
    TRY(sendto(fd, "x", 1, 0, (void *)&name, size)); // port 0
    name.sin_port = htons(9);
    TRY(sendto(fd, "x", 1, 0, (void *)&name, 4));
    TRY(sendto(fd, "x", 1, 0, (void *)&wrong, size));
    TRY(sendto(fd, "x", 1, MSG_OOB, (void *)&name, size));
    TRY(sendto(fd, data, 65508, 0, (void *)&name, size));
    TRY(sendto(fd, BAD, 10, 0, (void *)&name, size));
    TRY(recv(fd, data, 1, MSG_DONTWAIT));
    TRY(recv(fd, data, 1, MSG_DONTWAIT | MSG_ERRQUEUE));
    TRY(read(fd, data, 0));
    TRY(shutdown(fd, SHUT_RDWR));
    close(fd);
    MAKE(fd, socket(AF_INET, SOCK_DGRAM, 0));
    TRY(ioctl(fd, FIONREAD, &number) == 0 && number == 0);
    TRY(ioctl(fd, TIOCOUTQ, &number) == 0 && number == 0);
    close(fd);
}

static void get(int fd, int level, int name, const char *text) {
    int number = -1;
    socklen_t size = sizeof(number);
    errno = 0;
    int status = getsockopt(fd, level, name, &number, &size);
    printf("%s = %d (size %u) %s\n", text, number, size, status < 0 ? strerrorname(errno) : "");
}
#define GET(fd, level, name) get(fd, level, name, #name)

static void test_options(int domain, int type) {
    int fd, yes = 7, number = 100;
    socklen_t size = 2;
    short small = 1;
    struct timeval time = {1, 500000}, wrong = {1, 2000000};
    struct linger linger = {1, 5};
    printf("--- options, domain %d, type %d\n", domain, type);
    MAKE(fd, socket(domain, type, 0));
    GET(fd, SOL_SOCKET, SO_TYPE);
    GET(fd, SOL_SOCKET, SO_DOMAIN);
    GET(fd, SOL_SOCKET, SO_PROTOCOL);
    GET(fd, SOL_SOCKET, SO_ACCEPTCONN);
    GET(fd, SOL_SOCKET, SO_ERROR);
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
    GET(fd, SOL_SOCKET, SO_BROADCAST);
    GET(fd, SOL_SOCKET, SO_RCVLOWAT);
    GET(fd, SOL_SOCKET, SO_SNDLOWAT);
    GET(fd, SOL_SOCKET, 9999);
    GET(fd, SOL_SOCKET, SO_RCVBUF);
    GET(fd, SOL_SOCKET, SO_SNDBUF);
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)));
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &small, sizeof(small)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, BAD, sizeof(yes)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_TYPE, &yes, sizeof(yes)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_ERROR, &yes, sizeof(yes)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &number, sizeof(number)));
    GET(fd, SOL_SOCKET, SO_RCVBUF);
    TRY(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &number, sizeof(number)));
    GET(fd, SOL_SOCKET, SO_SNDBUF);
    number = 10000;
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &number, sizeof(number)));
    GET(fd, SOL_SOCKET, SO_RCVBUF);
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wrong, sizeof(wrong)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, 4));
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
    TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, 4));
    TRY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes)));
    GET(fd, SOL_SOCKET, SO_KEEPALIVE);
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &size) == 0 && size == 2);
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, BAD, &size));
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, BAD));
    size = (socklen_t)-1;
    TRY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &size));
    close(fd);
}

static void test_ip_options(void) {
    int fd, number = 77;
    unsigned char byte = 9;
    MAKE(fd, socket(AF_INET, SOCK_DGRAM, 0));
    GET(fd, IPPROTO_IP, IP_TTL);
    GET(fd, IPPROTO_IP, IP_TOS);
    GET(fd, IPPROTO_IP, IP_MULTICAST_TTL);
    GET(fd, IPPROTO_IP, IP_PKTINFO);
    GET(fd, IPPROTO_IP, IP_MTU);
    GET(fd, IPPROTO_IP, 9999);
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &number, sizeof(number)));
    GET(fd, IPPROTO_IP, IP_TTL);
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &byte, 1));
    GET(fd, IPPROTO_IP, IP_TTL);
    number = 0;
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &number, sizeof(number)));
    number = 256;
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &number, sizeof(number)));
    number = -1;
    TRY(setsockopt(fd, IPPROTO_IP, IP_TTL, &number, sizeof(number)));
    GET(fd, IPPROTO_IP, IP_TTL);
    number = 0x10;
    TRY(setsockopt(fd, IPPROTO_IP, IP_TOS, &number, sizeof(number)));
    GET(fd, IPPROTO_IP, IP_TOS);
    number = 1;
    TRY(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &number, sizeof(number)));
    GET(fd, IPPROTO_IP, IP_PKTINFO);
    number = 99;
    TRY(setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &number, sizeof(number)));
    TRY(setsockopt(fd, IPPROTO_IP, 9999, &number, sizeof(number)));
    TRY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &number, sizeof(number)));
    close(fd);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    test_birth();
    test_not_a_socket();
    test_unix(SOCK_STREAM);
    test_unix(SOCK_SEQPACKET);
    test_unix(SOCK_DGRAM);
    test_crossed_types();
    test_pair(SOCK_STREAM);
    test_pair(SOCK_SEQPACKET);
    test_pair(SOCK_DGRAM);
    test_fresh_poll(AF_UNIX, SOCK_STREAM);
    test_fresh_poll(AF_UNIX, SOCK_SEQPACKET);
    test_fresh_poll(AF_UNIX, SOCK_DGRAM);
    test_fresh_poll(AF_INET, SOCK_DGRAM);
    test_udp();
    test_options(AF_UNIX, SOCK_STREAM);
    test_options(AF_UNIX, SOCK_DGRAM);
    test_options(AF_INET, SOCK_DGRAM);
    test_ip_options();
    return 0;
}
