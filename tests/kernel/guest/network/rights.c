// Descriptors and credentials that travel over AF_UNIX sockets, and descriptors that nobody receives.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../core/check.h"

#define MOST 253 // as the kernel has it; musl's sendmsg lets no more than 252 pass
#define MANY 250

static ssize_t send_files(int over, const char *text, size_t size, const int *files, size_t count,
                          int flags) {
    char control[CMSG_SPACE(sizeof(int) * (MOST + 1))];
    memset(control, 0, sizeof(control));
    struct iovec piece = {(void *)text, size};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(c), files, sizeof(int) * count);
    return sendmsg(over, &header, flags);
}

// How many came; `room` is for how many there is room.
static int receive_files(int over, char *text, size_t size, int *files, size_t room, int flags,
                         int *flags_out, ssize_t *got) {
    char control[CMSG_SPACE(sizeof(int) * MOST)];
    struct iovec piece = {text, size};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = room == 0 ? NULL : control,
                            .msg_controllen = room == 0 ? 0 : CMSG_LEN(sizeof(int) * room)};
    *got = recvmsg(over, &header, flags);
    CHECK(*got >= 0);
    if (flags_out != NULL)
        *flags_out = header.msg_flags;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (c == NULL)
        return 0;
    CHECK(c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS);
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(files, CMSG_DATA(c), count * sizeof(int));
    return (int)count;
}

static int lowest_free(void) {
    int fd = dup(0);
    CHECK(fd >= 0 && close(fd) == 0);
    return fd;
}

static void test_passing(int type) {
    int ends[2], pipes[2], files[4];
    char text[16];
    ssize_t got;
    int flags;
    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0 && pipe(pipes) == 0);
    CHECK(send_files(ends[0], "both", 4, pipes, 2, 0) == 4);
    CHECK(close(pipes[0]) == 0 && close(pipes[1]) == 0); // they live on in the message
    CHECK(receive_files(ends[1], text, 16, files, 4, MSG_CMSG_CLOEXEC, &flags, &got) == 2);
    CHECK(got == 4 && memcmp(text, "both", 4) == 0 && !(flags & MSG_CTRUNC));
    CHECK(fcntl(files[0], F_GETFD) == FD_CLOEXEC);
    CHECK(write(files[1], "through", 7) == 7 && read(files[0], text, 16) == 7);
    CHECK(close(files[0]) == 0 && close(files[1]) == 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

// The read end of a pipe hangs up when the last write end is closed, wherever that was.
static void check_hung_up(int fd) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 5000) == 1 && poll_fd.revents == POLLHUP);
    CHECK(close(fd) == 0);
}

static void test_unreceived(int type) {
    int ends[2], pipes[2], files[4], flags;
    char text[16];
    ssize_t got;
    // read() throws them away
    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0 && pipe(pipes) == 0);
    CHECK(send_files(ends[0], "x", 1, pipes + 1, 1, 0) == 1 && close(pipes[1]) == 0);
    CHECK(read(ends[1], text, 16) == 1);
    check_hung_up(pipes[0]);
    // no room for them
    CHECK(pipe(pipes) == 0 && send_files(ends[0], "x", 1, pipes + 1, 1, 0) == 1);
    CHECK(close(pipes[1]) == 0);
    CHECK(receive_files(ends[1], text, 16, files, 0, 0, &flags, &got) == 0 && flags & MSG_CTRUNC);
    check_hung_up(pipes[0]);
    // room for one of two
    int twice[2];
    CHECK(pipe(pipes) == 0);
    twice[0] = twice[1] = pipes[1];
    CHECK(send_files(ends[0], "x", 1, twice, 2, 0) == 1 && close(pipes[1]) == 0);
    CHECK(receive_files(ends[1], text, 16, files, 1, 0, &flags, &got) == 1 && flags & MSG_CTRUNC);
    CHECK(close(files[0]) == 0);
    check_hung_up(pipes[0]);
    // the socket is closed with the message in it
    CHECK(pipe(pipes) == 0 && send_files(ends[0], "x", 1, pipes + 1, 1, 0) == 1);
    CHECK(close(pipes[1]) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
    check_hung_up(pipes[0]);
}

// A socket in a socket in a socket...: closing the outermost closes all.
static void test_nested(void) {
    int pipes[2], inner[2], outer[2];
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, inner) == 0);
    CHECK(send_files(inner[0], "x", 1, pipes + 1, 1, 0) == 1 && close(pipes[1]) == 0);
    for (int i = 0; i < 200; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, outer) == 0);
        CHECK(send_files(outer[0], "xy", 2, inner, 2, 0) == 2);
        CHECK(close(inner[0]) == 0 && close(inner[1]) == 0);
        inner[0] = outer[0];
        inner[1] = outer[1];
    }
    struct pollfd poll_fd = {pipes[0], POLLIN, 0};
    CHECK(poll(&poll_fd, 1, 0) == 0);
    CHECK(close(outer[0]) == 0 && close(outer[1]) == 0);
    check_hung_up(pipes[0]);
}

// A socket that is sent over itself is refused, and then nothing of it stays. Linux takes it, and
// collects it some time.
static void test_ring(void) {
    int ends[2], pipes[2];
    for (int i = 0; i < 20; i++) {
        CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
        int files[2] = {ends[1], pipes[1]};
        bool taken = send_files(ends[0], "x", 1, files, 2, 0) == 1;
        CHECK(taken || errno == ETOOMANYREFS);
        CHECK(close(ends[0]) == 0 && close(ends[1]) == 0 && close(pipes[1]) == 0);
        if (taken)
            CHECK(close(pipes[0]) == 0);
        else
            check_hung_up(pipes[0]);
    }
}

static void test_stream_boundaries(void) {
    int ends[2], files[4];
    char text[16];
    ssize_t got;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    int zero = 0;
    CHECK(send_files(ends[0], "bb", 2, &zero, 1, 0) == 2);
    CHECK(send(ends[0], "cc", 2, 0) == 2);
    CHECK(send_files(ends[0], "dd", 2, &zero, 1, 0) == 2);
    CHECK(receive_files(ends[1], text, 16, files, 4, 0, NULL, &got) == 1 && got == 2);
    CHECK(close(files[0]) == 0);
    int count = receive_files(ends[1], text, 16, files, 4, 0, NULL, &got);
    if (count == 0) { // Linux joins what came before a message with files to it, or does not
        CHECK(got == 2);
        count = receive_files(ends[1], text, 16, files, 4, 0, NULL, &got);
    }
    CHECK(count == 1 && close(files[0]) == 0);
    CHECK(recv(ends[1], text, 16, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void test_refused(void) {
    int ends[2], many[MOST + 1], files[MOST];
    char text[4];
    ssize_t got;
    int bad = 999;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    CHECK(send_files(ends[0], "x", 1, &bad, 1, 0) < 0 && errno == EBADF);
    for (int i = 0; i <= MOST; i++)
        many[i] = 0;
    CHECK(send_files(ends[0], "x", 1, many, MOST + 1, 0) < 0);
    CHECK(errno == EINVAL || errno == ENOMEM);
    CHECK(send_files(ends[0], "x", 1, many, MANY, 0) == 1);
    CHECK(receive_files(ends[1], text, 4, files, MOST, 0, NULL, &got) == MANY);
    for (int i = 0; i < MANY; i++)
        CHECK(close(files[i]) == 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void test_credentials(int type) {
    int ends[2], yes = 1;
    char text[4];
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec piece = {text, 4};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
    CHECK(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) == 0);
    CHECK(send(ends[0], "who", 3, 0) == 3 && recvmsg(ends[1], &header, 0) == 3);
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    CHECK(c != NULL && c->cmsg_type == SCM_CREDENTIALS);
    struct ucred credentials;
    memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
    CHECK(credentials.pid == getpid() && credentials.uid == geteuid());
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

int main(void) {
    int before = lowest_free();
    test_passing(SOCK_STREAM);
    test_passing(SOCK_DGRAM);
    test_passing(SOCK_SEQPACKET);
    test_unreceived(SOCK_STREAM);
    test_unreceived(SOCK_DGRAM);
    test_nested();
    test_ring();
    test_stream_boundaries();
    test_refused();
    test_credentials(SOCK_STREAM);
    test_credentials(SOCK_DGRAM);
    CHECK(lowest_free() == before);
    puts("rights: ok");
    return 0;
}
