// TCP over the loopback interface: connecting in all ways, data both ways, all ways to end.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../core/check.h"

static int listener_of(struct sockaddr_in *name, int backlog) {
    socklen_t size = sizeof(*name);
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (void *)name, size) == 0 && listen(fd, backlog) == 0);
    CHECK(getsockname(fd, (void *)name, &size) == 0 && name->sin_port != 0);
    return fd;
}

static int client_of(const struct sockaddr_in *name) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, (const void *)name, sizeof(*name)) == 0);
    return fd;
}

// Two ends of a connection.
static void connected(int ends[2]) {
    struct sockaddr_in name;
    int listener = listener_of(&name, 5);
    ends[0] = client_of(&name);
    ends[1] = accept(listener, NULL, NULL);
    CHECK(ends[1] >= 0 && close(listener) == 0);
}

static void close_both(int ends[2]) {
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static unsigned poll_now(int fd, int timeout) {
    struct pollfd poll_fd = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    CHECK(poll(&poll_fd, 1, timeout) >= 0);
    return (unsigned short)poll_fd.revents;
}

static void wait_for(int fd, short events) {
    struct pollfd poll_fd = {fd, events, 0};
    CHECK(poll(&poll_fd, 1, 5000) == 1);
}

// --- Names and states ---

static void test_names(void) {
    struct sockaddr_in name, client_name, found;
    socklen_t size = sizeof(found);
    int listener = listener_of(&name, 5), client = client_of(&name), yes, state;
    int server = accept4(listener, (void *)&found, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(server >= 0 && size == sizeof(found) && fcntl(server, F_GETFL) & O_NONBLOCK);
    CHECK(getsockname(client, (void *)&client_name, &size) == 0);
    CHECK(client_name.sin_port == found.sin_port && found.sin_family == AF_INET);
    CHECK(getpeername(client, (void *)&found, &size) == 0 && found.sin_port == name.sin_port);
    CHECK(getsockname(server, (void *)&found, &size) == 0 && found.sin_port == name.sin_port);
    size = sizeof(yes);
    CHECK(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes == 1);
    CHECK(getsockopt(client, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes == 0);
    CHECK(getsockopt(client, SOL_SOCKET, SO_PROTOCOL, &state, &size) == 0 && state == IPPROTO_TCP);
    CHECK(connect(client, (void *)&name, sizeof(name)) < 0 && errno == EISCONN);
    CHECK(listen(client, 5) < 0 && errno == EINVAL);
    CHECK(accept(client, NULL, NULL) < 0 && errno == EINVAL);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(other, (void *)&name, sizeof(name)) < 0 && errno == EADDRINUSE);
    CHECK(getpeername(other, (void *)&found, &size) < 0 && errno == ENOTCONN);
    CHECK(send(other, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    CHECK(recv(other, &state, 1, 0) < 0 && errno == ENOTCONN);
    CHECK(shutdown(other, SHUT_WR) < 0 && errno == ENOTCONN);
    CHECK(close(other) == 0 && close(client) == 0 && close(server) == 0 && close(listener) == 0);
    errno = 0;
    CHECK(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP) < 0 && errno == EPROTONOSUPPORT);
    int pair[2];
    CHECK(socketpair(AF_INET, SOCK_STREAM, 0, pair) < 0 && errno == EOPNOTSUPP);
}

// --- Connecting ---

static void test_nonblocking_connect(void) {
    struct sockaddr_in name;
    int listener = listener_of(&name, 5), error = -1;
    socklen_t size = sizeof(error);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(poll_now(fd, 0) == (POLLOUT | POLLHUP)); // nothing begun
    CHECK(connect(fd, (void *)&name, sizeof(name)) == 0 || errno == EINPROGRESS);
    wait_for(fd, POLLOUT);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    CHECK(poll_now(fd, 0) == POLLOUT);
    int first = connect(fd, (void *)&name, sizeof(name)); // 0 once: that was the end of it
    CHECK(first == 0 || errno == EISCONN);
    CHECK(connect(fd, (void *)&name, sizeof(name)) < 0 && errno == EISCONN);
    int server = accept(listener, NULL, NULL);
    CHECK(server >= 0 && send(fd, "hi", 2, 0) == 2 && close(server) == 0);
    CHECK(close(fd) == 0 && close(listener) == 0);
}

static void test_refused(void) {
    struct sockaddr_in name;
    int error = 0;
    socklen_t size = sizeof(error);
    CHECK(close(listener_of(&name, 5)) == 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&name, sizeof(name)) < 0 && errno == ECONNREFUSED);
    CHECK(close(fd) == 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fd, (void *)&name, sizeof(name)) < 0 && errno == EINPROGRESS) {
        wait_for(fd, POLLOUT);
        CHECK(poll_now(fd, 0) == (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
        CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED);
    }
    CHECK(close(fd) == 0);
}

static void ignore(int signal) {
    (void)signal;
}

// 192.0.2.0/24 is for documentation (RFC 5737): nobody answers, or it is known not to be reached.
static void test_interrupted_connect(void) {
    struct sockaddr_in nowhere = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xC0000201)};
    struct sigaction action = {.sa_handler = ignore};
    struct timeval little = {0, 50000};
    sigaction(SIGALRM, &action, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ualarm(50000, 50000);
    CHECK(connect(fd, (void *)&nowhere, sizeof(nowhere)) < 0);
    if (errno == EINTR) { // it goes on
        CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
        CHECK(connect(fd, (void *)&nowhere, sizeof(nowhere)) < 0 && errno == EALREADY);
    } else {
        CHECK(errno == ENETUNREACH || errno == EHOSTUNREACH || errno == ECONNREFUSED);
    }
    ualarm(0, 0);
    CHECK(close(fd) == 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &little, sizeof(little)) == 0);
    CHECK(connect(fd, (void *)&nowhere, sizeof(nowhere)) < 0);
    CHECK(errno == EINPROGRESS || errno == ENETUNREACH || errno == EHOSTUNREACH ||
          errno == ECONNREFUSED);
    CHECK(close(fd) == 0);
}

static void test_backlog(void) {
    struct sockaddr_in name;
    int listener = listener_of(&name, 2), fds[3], accepted[3];
    struct timeval little = {0, 50000};
    for (int i = 0; i < 3; i++)
        fds[i] = client_of(&name); // one more than the backlog says
    CHECK(poll_now(listener, 5000) == POLLIN);
    for (int i = 0; i < 3; i++)
        CHECK((accepted[i] = accept(listener, NULL, NULL)) >= 0);
    CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &little, sizeof(little)) == 0);
    CHECK(accept(listener, NULL, NULL) < 0 && errno == EAGAIN);
    for (int i = 0; i < 3; i++)
        CHECK(write(fds[i], "x", 1) == 1 && read(accepted[i], &little, 1) == 1);
    for (int i = 0; i < 3; i++)
        CHECK(close(fds[i]) == 0 && close(accepted[i]) == 0);
    // Connections that nobody accepted are reset with their listener.
    int fd = client_of(&name);
    char c;
    CHECK(close(listener) == 0);
    CHECK(recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET && close(fd) == 0);
}

// --- Data ---

#define STREAM (4 << 20)

static unsigned char expected(size_t at) {
    return (unsigned char)(at * 31 + at / 4096);
}

static void *write_stream(void *argument) {
    static unsigned char piece[100003];
    int fd = (int)(intptr_t)argument;
    for (size_t done = 0; done < STREAM;) {
        size_t size = STREAM - done < sizeof(piece) ? STREAM - done : sizeof(piece);
        for (size_t i = 0; i < size; i++)
            piece[i] = expected(done + i);
        CHECK(send(fd, piece, size, done % 2 ? MSG_MORE : 0) == (ssize_t)size);
        done += size;
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    return NULL;
}

static void test_stream(void) {
    static unsigned char piece[30011];
    int ends[2], number;
    size_t done = 0;
    pthread_t thread;
    connected(ends);
    CHECK(pthread_create(&thread, NULL, write_stream, (void *)(intptr_t)ends[0]) == 0);
    for (ssize_t got; (got = recv(ends[1], piece, sizeof(piece), done % 3 ? 0 : MSG_WAITALL)) > 0;)
        for (ssize_t i = 0; i < got; i++, done++)
            CHECK(piece[i] == expected(done));
    CHECK(done == STREAM && pthread_join(thread, NULL) == 0);
    // Half-closed: the other direction still works.
    CHECK(poll_now(ends[1], 0) == (POLLIN | POLLOUT | POLLRDHUP));
    CHECK(write(ends[1], "still here", 10) == 10);
    CHECK(recv(ends[0], piece, 5, MSG_PEEK) == 5 && recv(ends[0], piece, 20, 0) == 10);
    CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    struct iovec pieces[2] = {{"one ", 4}, {"two", 3}};
    CHECK(writev(ends[1], pieces, 2) == 7);
    wait_for(ends[0], POLLIN);
    CHECK(ioctl(ends[0], FIONREAD, &number) == 0 && number == 7);
    CHECK(recv(ends[0], NULL, 4, MSG_TRUNC) == 4); // thrown away
    CHECK(read(ends[0], piece, 16) == 3 && memcmp(piece, "two", 3) == 0);
    close_both(ends);
}

static void test_full(void) {
    int ends[2];
    static char data[65536];
    size_t sent = 0, got = 0;
    connected(ends);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    for (int quiet = 0; quiet < 20; quiet++) // until no acknowledgement makes room any more
        for (ssize_t put; (put = write(ends[0], data, sizeof(data))) > 0 || poll_now(ends[0], 50);)
            sent += put > 0 ? (size_t)put : 0;
    CHECK(write(ends[0], data, 1) < 0 && errno == EAGAIN && sent > 20000);
    while (got < sent) {
        ssize_t n = read(ends[1], data, sizeof(data));
        CHECK(n > 0);
        got += (size_t)n;
    }
    wait_for(ends[0], POLLOUT);
    CHECK(write(ends[0], data, 1) == 1);
    close_both(ends);
}

static void test_sendfile(const char *directory) {
    char path[256];
    static char data[300000], back[300000];
    int ends[2];
    snprintf(path, sizeof(path), "%s/sendfile-tcp", directory);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7 + i / 1000);
    CHECK(fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data) && lseek(fd, 0, SEEK_SET) == 0);
    connected(ends);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    size_t got = 0;
    for (size_t sent = 0; got < sizeof(data);) {
        ssize_t put = sent < sizeof(data) ? sendfile(ends[0], fd, NULL, sizeof(data) - sent) : 0;
        CHECK(put >= 0 || errno == EAGAIN);
        sent += put > 0 ? (size_t)put : 0;
        ssize_t n = recv(ends[1], back + got, sizeof(back) - got, MSG_DONTWAIT);
        CHECK(n > 0 || (n < 0 && errno == EAGAIN));
        got += n > 0 ? (size_t)n : 0;
    }
    CHECK(memcmp(data, back, sizeof(data)) == 0);
    close_both(ends);
    CHECK(close(fd) == 0 && unlink(path) == 0);
}

// --- The end ---

static void test_reset_by_linger(void) {
    int ends[2];
    char c;
    struct linger none = {1, 0};
    connected(ends);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &none, sizeof(none)) == 0);
    CHECK(close(ends[0]) == 0);
    wait_for(ends[1], POLLIN);
    CHECK(poll_now(ends[1], 0) == (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
    CHECK(recv(ends[1], &c, 1, 0) < 0 && errno == ECONNRESET);
    CHECK(recv(ends[1], &c, 1, 0) == 0); // the error was told
    CHECK(send(ends[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    CHECK(close(ends[1]) == 0);
}

static void test_unread_data_resets(void) {
    int ends[2];
    char c;
    connected(ends);
    CHECK(write(ends[0], "unread", 6) == 6);
    wait_for(ends[1], POLLIN);
    CHECK(close(ends[1]) == 0);
    wait_for(ends[0], POLLIN);
    CHECK(recv(ends[0], &c, 1, 0) < 0 && errno == ECONNRESET && close(ends[0]) == 0);
}

static volatile sig_atomic_t broken;
static void count_broken(int signal) {
    (void)signal;
    broken++;
}

static void test_broken(void) {
    int ends[2];
    struct sigaction action = {.sa_handler = count_broken};
    connected(ends);
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(close(ends[1]) == 0);
    wait_for(ends[0], POLLIN);
    CHECK(write(ends[0], "answered by a reset", 19) == 19);
    while (!(poll_now(ends[0], 10) & POLLHUP))
        continue;
    CHECK(write(ends[0], "x", 1) < 0 && errno == EPIPE && broken == 1);
    CHECK(close(ends[0]) == 0);
}

static void test_lingering_close(void) {
    int ends[2];
    char text[8];
    struct linger linger = {1, 5};
    connected(ends);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
    struct timespec before, after;
    CHECK(write(ends[0], "last", 4) == 4);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(close(ends[0]) == 0); // soon: the other side's kernel has it
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec < 4);
    CHECK(read(ends[1], text, 8) == 4 && read(ends[1], text, 8) == 0 && close(ends[1]) == 0);
}

static void test_timeout(void) {
    int ends[2];
    char c;
    struct timeval little = {0, 50000};
    connected(ends);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &little, sizeof(little)) == 0);
    CHECK(recv(ends[0], &c, 1, 0) < 0 && errno == EAGAIN);
    close_both(ends);
}

// A port can be listened on again at once, though connections over it are in TIME_WAIT.
static void test_reuse(void) {
    struct sockaddr_in name;
    int listener = listener_of(&name, 5), yes = 1;
    for (int i = 0; i < 3; i++) {
        int client = client_of(&name), server = accept(listener, NULL, NULL);
        char c;
        CHECK(server >= 0 && close(server) == 0 && read(client, &c, 1) == 0);
        CHECK(close(client) == 0 && close(listener) == 0);
        listener = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
        CHECK(bind(listener, (void *)&name, sizeof(name)) == 0 && listen(listener, 5) == 0);
    }
    CHECK(close(listener) == 0);
}

static void *shut_down_later(void *argument) {
    usleep(20000);
    CHECK(shutdown((int)(intptr_t)argument, SHUT_RDWR) == 0);
    return NULL;
}

static void test_shutdown_wakes_accept(void) {
    struct sockaddr_in name;
    pthread_t thread;
    int listener = listener_of(&name, 5);
    CHECK(pthread_create(&thread, NULL, shut_down_later, (void *)(intptr_t)listener) == 0);
    CHECK(accept(listener, NULL, NULL) < 0 && errno == EINVAL);
    CHECK(pthread_join(thread, NULL) == 0 && close(listener) == 0);
}

// --- Options ---

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    CHECK(getsockopt(fd, level, name, &value, &size) == 0 && size == sizeof(value));
    return value;
}

static void set(int fd, int level, int name, int value) {
    CHECK(setsockopt(fd, level, name, &value, sizeof(value)) == 0);
}

static void test_options(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 0);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
    CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 30 && option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 3);
    set(fd, IPPROTO_IP, IP_TTL, 33);
    CHECK(option(fd, IPPROTO_IP, IP_TTL) == 33);
    set(fd, SOL_SOCKET, SO_RCVBUF, 20000);
    CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) == 40000);
    CHECK(option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    CHECK(close(fd) == 0);
}

// --- Many connections at once ---

enum { CONNECTIONS = 200 };

static void *serve(void *argument) {
    int listener = (int)(intptr_t)argument, epoll = epoll_create1(0), closed = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[32];
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0);
    while (closed < CONNECTIONS) {
        int ready = epoll_wait(epoll, events, 32, 20000);
        CHECK(ready > 0);
        for (int i = 0; i < ready; i++) {
            char text[64];
            int fd = events[i].data.fd;
            if (fd == listener) {
                event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                CHECK(event.data.fd >= 0);
                CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) == 0);
                continue;
            }
            ssize_t got = read(fd, text, sizeof(text));
            CHECK(got >= 0);
            if (got == 0)
                closed += close(fd) == 0;
            else
                CHECK(write(fd, text, (size_t)got) == got);
        }
    }
    CHECK(close(epoll) == 0);
    return NULL;
}

static void test_many(void) {
    struct sockaddr_in name;
    static int fds[CONNECTIONS];
    pthread_t thread;
    int listener = listener_of(&name, 128);
    CHECK(pthread_create(&thread, NULL, serve, (void *)(intptr_t)listener) == 0);
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = client_of(&name);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CONNECTIONS; i++)
            CHECK(write(fds[i], &i, sizeof(i)) == sizeof(i));
        for (int i = 0, back; i < CONNECTIONS; i++)
            CHECK(recv(fds[i], &back, sizeof(back), MSG_WAITALL) == sizeof(back) && back == i);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        CHECK(close(fds[i]) == 0);
    CHECK(pthread_join(thread, NULL) == 0 && close(listener) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    test_names();
    test_nonblocking_connect();
    test_refused();
    test_interrupted_connect();
    test_backlog();
    test_stream();
    test_full();
    test_sendfile(arguments[1]);
    test_reset_by_linger();
    test_unread_data_resets();
    test_broken();
    test_lingering_close();
    test_timeout();
    test_reuse();
    test_shutdown_wakes_accept();
    test_options();
    test_many();
    puts("streams: ok");
    return 0;
}
