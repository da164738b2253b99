// Three connections to an echo server that vanishes, and one call that nobody answers. Each tells
// how it learns of it, and after how long. On Linux the same comes out.
// vanish ADDRESS PORT | vanish listen PORT
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../core/check.h"

static struct sockaddr_in address = {.sin_family = AF_INET};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *name_of(int error) {
    return error == ETIMEDOUT      ? "ETIMEDOUT"
           : error == EHOSTUNREACH ? "EHOSTUNREACH"
                                   : strerror(error);
}

static void option(int s, int level, int name, int value) {
    CHECK(setsockopt(s, level, name, &value, sizeof(value)) == 0);
}

static void tell(const char *what, double since, int s) {
    int error;
    socklen_t size = sizeof(error);
    CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    printf("%s: %s after %.1f s\n", what, name_of(error ? error : errno), now() - since);
    fflush(stdout);
}

static int call(int port_offset) {
    struct sockaddr_in to = address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons((unsigned short)(ntohs(address.sin_port) + port_offset));
    CHECK(connect(s, (void *)&to, sizeof(to)) == 0);
    char c = 'x';
    CHECK(send(s, &c, 1, 0) == 1 && recv(s, &c, 1, 0) == 1);
    return s;
}

static int keeping, sending;

// Waits for bytes that never come.
static void *keep_alive(void *unused) {
    struct pollfd p = {.fd = keeping, .events = POLLIN};
    double since = now();
    CHECK(poll(&p, 1, 60000) == 1 && p.revents == (POLLIN | POLLERR | POLLHUP));
    tell("keep-alive", since, keeping);
    CHECK(recv(keeping, &p, sizeof(p), 0) == 0);
    return unused;
}

// Sends until the send buffer is full, and waits for room.
static void *user_timeout(void *unused) {
    static char bytes[100000];
    double since = now();
    while (send(sending, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
        continue;
    tell("user timeout", since, sending);
    CHECK(send(sending, bytes, 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    return unused;
}

static void *handshake(void *unused) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    double since = now();
    option(s, IPPROTO_TCP, TCP_SYNCNT, 1);
    CHECK(connect(s, (void *)&address, sizeof(address)) == -1);
    printf("handshake: %s after %.1f s\n", name_of(errno), now() - since);
    fflush(stdout);
    close(s);
    return unused;
}

static void serve(void) {
    int s = socket(AF_INET, SOCK_STREAM, 0), c[2];
    char byte;

    address.sin_addr.s_addr = 0;
    CHECK(bind(s, (void *)&address, sizeof(address)) == 0 && listen(s, 8) == 0);
    puts("listening");
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        c[i] = accept(s, NULL, NULL);
        CHECK(recv(c[i], &byte, 1, 0) == 1 && send(c[i], &byte, 1, 0) == 1);
    }
    pause();
}

int main(int count, char **arguments) {
    pthread_t threads[3];
    void *(*const work[])(void *) = {keep_alive, user_timeout, handshake};

    CHECK(count == 3);
    address.sin_port = htons((unsigned short)atoi(arguments[2]));
    if (strcmp(arguments[1], "listen") == 0)
        serve();
    CHECK(inet_pton(AF_INET, arguments[1], &address.sin_addr) == 1);
    keeping = call(0);
    sending = call(0);
    option(keeping, IPPROTO_TCP, TCP_KEEPIDLE, 1);
    option(keeping, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    option(keeping, IPPROTO_TCP, TCP_KEEPCNT, 2);
    option(keeping, SOL_SOCKET, SO_KEEPALIVE, 1);
    option(sending, IPPROTO_TCP, TCP_USER_TIMEOUT, 2500);
    puts("connected");
    fflush(stdout);
    getchar(); // until the peer has vanished
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, work[i], NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("vanish: ok");
    return 0;
}
