// AF_UNIX sockets of all kinds: streams, packets, datagrams, their names, and what travels with them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "../core/check.h"

static const char *directory;

static socklen_t path_name(struct sockaddr_un *out, const char *name) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", directory, name);
    return sizeof(*out);
}

static socklen_t abstract_name(struct sockaddr_un *out, const char *name) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    // Others on this machine may run the same program: such names belong to its whole network.
    int length = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "%s %d", name, getpid());
    return (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)length;
}

// --- Streams ---

#define STREAM (3 << 20)

static unsigned char expected(size_t at) {
    return (unsigned char)(at * 31 + at / 4096);
}

static void *write_stream(void *argument) {
    static unsigned char piece[300007];
    int fd = (int)(intptr_t)argument;
    for (size_t done = 0; done < STREAM;) {
        size_t size = STREAM - done < sizeof(piece) ? STREAM - done : sizeof(piece);
        for (size_t i = 0; i < size; i++)
            piece[i] = expected(done + i);
        CHECK(send(fd, piece, size, 0) == (ssize_t)size); // blocking: all of it
        done += size;
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    return NULL;
}

static void read_stream(int fd) {
    static unsigned char piece[4099];
    size_t done = 0;
    for (ssize_t got; (got = recv(fd, piece, sizeof(piece), done % 3 ? 0 : MSG_WAITALL)) > 0;)
        for (ssize_t i = 0; i < got; i++, done++)
            CHECK(piece[i] == expected(done));
    CHECK(done == STREAM);
}

static void test_stream(void) {
    int ends[2], left;
    char text[16] = {0};
    pthread_t thread;
    struct stat status;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(fstat(ends[0], &status) == 0 && S_ISSOCK(status.st_mode));
    CHECK(pthread_create(&thread, NULL, write_stream, (void *)(intptr_t)ends[0]) == 0);
    read_stream(ends[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(write(ends[1], "back", 4) == 4); // the other direction is still open
    CHECK(ioctl(ends[0], FIONREAD, &left) == 0 && left == 4);
    CHECK(recv(ends[0], text, 2, MSG_PEEK) == 2 && memcmp(text, "ba", 2) == 0);
    struct iovec pieces[3] = {{text, 1}, {text + 5, 0}, {text + 1, 9}};
    CHECK(readv(ends[0], pieces, 3) == 4 && memcmp(text, "back", 4) == 0);
    CHECK(recv(ends[0], text, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(ends[0], text, 1) < 0 && errno == EAGAIN);
    int no = 0;
    CHECK(ioctl(ends[0], FIONBIO, &no) == 0 && (fcntl(ends[0], F_GETFL) & O_NONBLOCK) == 0);
    CHECK(lseek(ends[0], 0, SEEK_SET) < 0 && errno == ESPIPE);
    CHECK(close(ends[0]) == 0);
    CHECK(read(ends[1], text, 1) == 0);
    CHECK(send(ends[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    CHECK(close(ends[1]) == 0);
}

static volatile sig_atomic_t broken;
static void count_broken(int signal) {
    (void)signal;
    broken++;
}

static void test_broken_stream(void) {
    int ends[2], error;
    char c;
    socklen_t size = sizeof(error);
    struct sigaction action = {.sa_handler = count_broken};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    CHECK(write(ends[0], "unread", 6) == 6 && close(ends[1]) == 0);
    CHECK(write(ends[0], "x", 1) < 0 && errno == EPIPE && broken == 1);
    struct pollfd poll_end = {ends[0], POLLIN | POLLOUT | POLLRDHUP, 0};
    CHECK(poll(&poll_end, 1, 0) == 1);
    CHECK(poll_end.revents == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR));
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNRESET);
    CHECK(read(ends[0], &c, 1) == 0); // the error was told
    CHECK(close(ends[0]) == 0);
}

// --- Listening and connecting, by both kinds of names ---

static void *accept_and_echo(void *argument) {
    int listener = (int)(intptr_t)argument;
    for (int i = 0; i < 20; i++) {
        char text[64];
        struct sockaddr_un name;
        socklen_t size = sizeof(name);
        int fd = accept4(listener, (struct sockaddr *)&name, &size, SOCK_CLOEXEC);
        CHECK(fd >= 0 && name.sun_family == AF_UNIX && size == sizeof(sa_family_t));
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        for (ssize_t got; (got = read(fd, text, sizeof(text))) > 0;)
            CHECK(write(fd, text, (size_t)got) == got);
        CHECK(close(fd) == 0);
    }
    return NULL;
}

static void test_connect(int type, const struct sockaddr_un *name, socklen_t size) {
    const struct sockaddr *address = (const struct sockaddr *)name;
    int listener = socket(AF_UNIX, type, 0), yes;
    struct sockaddr_un found;
    socklen_t found_size = sizeof(found), yes_size = sizeof(yes);
    pthread_t thread;
    CHECK(bind(listener, address, size) == 0);
    int other = socket(AF_UNIX, type, 0);
    CHECK(bind(other, address, size) < 0 && errno == EADDRINUSE);
    CHECK(connect(other, address, size) < 0 && errno == ECONNREFUSED);
    CHECK(listen(listener, 5) == 0);
    CHECK(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &yes, &yes_size) == 0 && yes == 1);
    CHECK(pthread_create(&thread, NULL, accept_and_echo, (void *)(intptr_t)listener) == 0);
    for (int i = 0; i < 20; i++) {
        char text[64] = {0};
        int fd = i == 0 ? other : socket(AF_UNIX, type, 0);
        CHECK(connect(fd, address, size) == 0);
        CHECK(connect(fd, address, size) < 0 && errno == EISCONN);
        CHECK(send(fd, "hello", 5, 0) == 5 && recv(fd, text, sizeof(text), 0) == 5);
        CHECK(strcmp(text, "hello") == 0);
        found_size = sizeof(found);
        CHECK(getpeername(fd, (struct sockaddr *)&found, &found_size) == 0);
        CHECK(memcmp(&found, name, found_size) == 0 && found_size > sizeof(sa_family_t));
        struct ucred credentials;
        socklen_t credentials_size = sizeof(credentials);
        CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0);
        CHECK(credentials.pid == getpid() && credentials.uid == geteuid());
        CHECK(shutdown(fd, SHUT_WR) == 0 && recv(fd, text, sizeof(text), 0) == 0);
        CHECK(close(fd) == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    // What waits to be accepted is told that the listener is gone.
    int fd = socket(AF_UNIX, type, 0);
    char c;
    CHECK(connect(fd, address, size) == 0 && send(fd, "x", 1, 0) == 1);
    CHECK(close(listener) == 0);
    CHECK(recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET);
    CHECK(close(fd) == 0);
}

static void test_backlog(void) {
    struct sockaddr_un name;
    socklen_t size = abstract_name(&name, "osvlab backlog");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fds[8];
    CHECK(bind(listener, (void *)&name, size) == 0 && listen(listener, 2) == 0);
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(connect(fds[i], (void *)&name, size) == 0);
    }
    fds[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(connect(fds[3], (void *)&name, size) < 0 && errno == EAGAIN);
    struct pollfd poll_listener = {listener, POLLIN, 0};
    CHECK(poll(&poll_listener, 1, 0) == 1 && poll_listener.revents == POLLIN);
    fds[4] = accept(listener, NULL, NULL);
    CHECK(fds[4] >= 0 && connect(fds[3], (void *)&name, size) == 0);
    for (int i = 0; i < 5; i++)
        CHECK(close(fds[i]) == 0);
    CHECK(close(listener) == 0);
}

// --- Packets and datagrams ---

static void test_packets(void) {
    int ends[2];
    char text[16];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    CHECK(send(ends[0], "one", 3, 0) == 3 && send(ends[0], "three", 5, 0) == 5);
    CHECK(send(ends[0], "six", 3, 0) == 3);
    struct iovec piece = {text, 2};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    CHECK(recv(ends[1], text, 16, MSG_PEEK) == 3);
    CHECK(recvmsg(ends[1], &header, 0) == 2 && header.msg_flags & MSG_TRUNC);
    CHECK(recv(ends[1], text, 2, MSG_TRUNC) == 5);
    CHECK(read(ends[1], text, 16) == 3 && memcmp(text, "six", 3) == 0);
    CHECK(send(ends[0], "end", 3, 0) == 3 && close(ends[0]) == 0);
    CHECK(read(ends[1], text, 16) == 3 && read(ends[1], text, 16) == 0);
    CHECK(send(ends[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    CHECK(close(ends[1]) == 0);
}

static void test_datagrams(void) {
    struct sockaddr_un server_name, client_name, from;
    socklen_t server_size = path_name(&server_name, "datagrams");
    socklen_t client_size = abstract_name(&client_name, "osvlab client"), from_size = sizeof(from);
    char text[64];
    struct stat status;
    int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(server, (void *)&server_name, server_size) == 0);
    CHECK(stat(server_name.sun_path, &status) == 0 && S_ISSOCK(status.st_mode));
    CHECK(open(server_name.sun_path, O_RDWR) < 0 && errno == ENXIO);
    CHECK(sendto(client, "anonymous", 9, 0, (void *)&server_name, server_size) == 9);
    CHECK(recvfrom(server, text, 64, 0, (void *)&from, &from_size) == 9 && from_size == 0);
    CHECK(bind(client, (void *)&client_name, client_size) == 0);
    CHECK(connect(client, (void *)&server_name, server_size) == 0);
    CHECK(send(client, "", 0, 0) == 0 && send(client, "named", 5, 0) == 5);
    from_size = sizeof(from);
    CHECK(recvfrom(server, text, 64, 0, (void *)&from, &from_size) == 0);
    CHECK(from_size == client_size && memcmp(&from, &client_name, from_size) == 0);
    CHECK(recv(server, text, 64, 0) == 5);
    CHECK(sendto(server, "answer", 6, 0, (void *)&from, from_size) == 6);
    CHECK(recv(client, text, 64, 0) == 6);
    int stranger = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(sendto(stranger, "x", 1, 0, (void *)&client_name, client_size) < 0 && errno == EPERM);
    CHECK(close(stranger) == 0);
    CHECK(close(server) == 0);
    CHECK(send(client, "x", 1, 0) < 0 && errno == ECONNREFUSED);
    CHECK(send(client, "x", 1, 0) < 0 && errno == ENOTCONN);
    CHECK(sendto(client, "x", 1, 0, (void *)&server_name, server_size) < 0 &&
          errno == ECONNREFUSED);
    CHECK(unlink(server_name.sun_path) == 0);
    CHECK(sendto(client, "x", 1, 0, (void *)&server_name, server_size) < 0 && errno == ENOENT);
    CHECK(close(client) == 0);
}

static void test_automatic_name(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(fd, (void *)&name, sizeof(sa_family_t)) == 0);
    CHECK(getsockname(fd, (void *)&name, &size) == 0 && size == sizeof(sa_family_t) + 6);
    CHECK(name.sun_path[0] == 0 && close(fd) == 0);
}

static void *drain(void *argument) {
    static char data[70000];
    for (int i = 0; i < 40; i++)
        CHECK(recv((int)(intptr_t)argument, data, sizeof(data), 0) == 60000 && data[59999] == i);
    return NULL;
}

static void test_full_queue(int type) {
    int ends[2], sent = 0;
    static char data[300000];
    pthread_t thread;
    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
    CHECK(send(ends[0], data, sizeof(data), 0) < 0 && errno == EMSGSIZE);
    while (send(ends[0], data, 1000, MSG_DONTWAIT) == 1000)
        sent++;
    CHECK(errno == EAGAIN && sent > 5);
    struct pollfd poll_end = {ends[0], POLLOUT, 0};
    CHECK(poll(&poll_end, 1, 0) == 0);
    while (sent-- > 0)
        CHECK(recv(ends[1], data, sizeof(data), 0) == 1000);
    CHECK(poll(&poll_end, 1, 0) == 1 && poll_end.revents == POLLOUT);
    CHECK(pthread_create(&thread, NULL, drain, (void *)(intptr_t)ends[1]) == 0);
    for (int i = 0; i < 40; i++) {
        data[59999] = (char)i;
        CHECK(send(ends[0], data, 60000, 0) == 60000);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void test_many_messages(void) {
    enum { COUNT = 5 };
    int ends[2];
    char texts[COUNT][8];
    struct iovec pieces[COUNT];
    struct mmsghdr messages[COUNT];
    memset(messages, 0, sizeof(messages));
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%d", i);
        pieces[i] = (struct iovec){texts[i], (size_t)i + 1};
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    CHECK(sendmmsg(ends[0], messages, COUNT, 0) == COUNT && messages[4].msg_len == 5);
    memset(texts, 0, sizeof(texts));
    CHECK(recvmmsg(ends[1], messages, 2, 0, NULL) == 2 && messages[1].msg_len == 2);
    CHECK(recvmmsg(ends[1], messages, COUNT, MSG_WAITFORONE, NULL) == 3);
    CHECK(messages[2].msg_len == 3 && texts[2][0] == '4');
    CHECK(recvmmsg(ends[1], messages, COUNT, MSG_DONTWAIT, NULL) < 0 && errno == EAGAIN);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

int main(int count, char **arguments) {
    struct sockaddr_un name;
    CHECK(count == 2);
    directory = arguments[1];
    test_stream();
    test_broken_stream();
    test_connect(SOCK_STREAM, &name, path_name(&name, "stream"));
    CHECK(unlink(name.sun_path) == 0);
    test_connect(SOCK_STREAM, &name, abstract_name(&name, "osvlab stream"));
    test_connect(SOCK_SEQPACKET, &name, path_name(&name, "packets"));
    CHECK(unlink(name.sun_path) == 0);
    test_backlog();
    test_packets();
    test_datagrams();
    test_automatic_name();
    test_full_queue(SOCK_DGRAM);
    test_full_queue(SOCK_SEQPACKET);
    test_many_messages();
    puts("local: ok");
    return 0;
}
