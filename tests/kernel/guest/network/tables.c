// What netstat and ss read: sockets of each kind stand in /proc/net as on Linux. An argument is a
// program to run last, while the sockets are open.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[4 << 20]; // a busy host has thousands

static void read_table(const char *path) {
    FILE *file = fopen(path, "r");
    assert(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
}

static void expect(const char *path, const char *format, unsigned port) {
    char wanted[200];
    snprintf(wanted, sizeof(wanted), format, port);
    read_table(path);
    if (!strstr(text, wanted)) {
        printf("%s has no \"%s\":\n%s", path, wanted, text);
        exit(1);
    }
}

static void wait_for_input(int fd) {
    struct pollfd entry = {fd, POLLIN, 0};
    assert(poll(&entry, 1, 10000) == 1);
}

static int open_socket(int type, struct sockaddr_in *address) {
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, type, 0);
    *address = (struct sockaddr_in){AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
    assert(fd >= 0 && bind(fd, (void *)address, sizeof(*address)) == 0);
    assert(getsockname(fd, (void *)address, &size) == 0);
    return fd;
}

int main(int argc, char **argv) {
    struct sockaddr_in listens, sends, connects, talks;
    socklen_t size = sizeof(talks);
    int listener = open_socket(SOCK_STREAM, &listens), udp = open_socket(SOCK_DGRAM, &sends);
    int other = open_socket(SOCK_DGRAM, &connects);
    int client = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {AF_UNIX, "\0tables"};

    assert(listen(listener, 7) == 0);
    assert(connect(client, (void *)&listens, sizeof(listens)) == 0);
    assert(getsockname(client, (void *)&talks, &size) == 0);
    wait_for_input(listener);
    expect("/proc/net/tcp", ": 0100007F:%04X 00000000:0000 0A 00000000:00000001 00:",
           ntohs(listens.sin_port)); // somebody waits to be accepted
    int server = accept(listener, NULL, NULL);
    assert(server >= 0 && write(client, "hello", 5) == 5);
    wait_for_input(server);
    expect("/proc/net/tcp",
           ": 0100007F:%04X 00000000:0000 0A 00000000:00000000 00:", ntohs(listens.sin_port));
    expect("/proc/net/tcp", ": 0100007F:%04X 0100007F:", ntohs(talks.sin_port));
    expect("/proc/net/tcp", ":%04X 01 00000000:00000005 00:00000000", ntohs(talks.sin_port));
    expect("/proc/net/udp", ": 0100007F:%04X 00000000:0000 07 00000000:00000000 00:00000000",
           ntohs(sends.sin_port));
    assert(sendto(udp, "x", 1, 0, (void *)&sends, sizeof(sends)) == 1);
    expect("/proc/net/udp", ":%04X 00000000:0000 07 00000000:00000", ntohs(sends.sin_port));
    assert(connect(other, (void *)&listens, sizeof(listens)) == 0);
    expect("/proc/net/udp", ": 0100007F:%04X 0100007F:", ntohs(connects.sin_port));
    assert(bind(local, (void *)&name, sizeof(sa_family_t) + 7) == 0 && listen(local, 1) == 0);
    expect("/proc/net/unix", " 00000000 00010000 0001 01 ", 0);
    expect("/proc/net/unix", " @tables\n", 0);
    expect("/proc/net/sockstat", "TCP: inuse ", 0);
    expect("/proc/net/sockstat", "UDP: inuse ", 0);
    puts("tables: ok");
    fflush(stdout);
    printf("ports %u %u\n", ntohs(listens.sin_port), ntohs(sends.sin_port));
    fflush(stdout);
    if (argc > 2) {
        pid_t pid;
        int status;
        assert(posix_spawn(&pid, argv[2], NULL, NULL, argv + 2, environ) == 0);
        assert(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return 0;
}
