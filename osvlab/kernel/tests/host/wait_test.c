// What one waits for: pipes, FIFOs, eventfd, timerfd, poll, select, epoll; and /proc, which shows
// it all. With real threads, under the sanitizers.

#include "files_shim.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "check.h"
#include "syscalls_files.h"

static struct {
    int descriptor;
    const char *text;
} later;

// Waits until the main thread most likely sleeps, then writes. That it does is not relied upon:
// the result is the same if it does not.
static void *write_later(void *unused) {
    (void)unused;
    usleep(5000);
    CHECK(sys_write(later.descriptor, later.text, strlen(later.text)), strlen(later.text));
    return NULL;
}

static pthread_t start_writer(int descriptor, const char *text) {
    pthread_t thread;
    later.descriptor = descriptor;
    later.text = text;
    pthread_create(&thread, NULL, write_later, NULL);
    return thread;
}

static void test_pipe(void) {
    int ends[2], left;
    static char data[70000];
    CHECK(sys_pipe2(ends, 1 << 30), -EINVAL);
    CHECK(sys_pipe2(NULL, 0), -EFAULT);
    CHECK(sys_pipe2(ends, O_NONBLOCK), 0);
    CHECK(sys_read(ends[0], data, 1), -EAGAIN);
    CHECK(sys_read(ends[1], data, 1), -EBADF);
    CHECK(sys_write(ends[0], data, 1), -EBADF);
    CHECK(sys_lseek(ends[0], 0, SEEK_SET), -ESPIPE);
    CHECK(sys_pread64(ends[0], data, 1, 0), -ESPIPE);
    CHECK(sys_write(ends[1], data, sizeof(data)), 65536);
    CHECK(sys_write(ends[1], data, 1), -EAGAIN);
    CHECK(sys_ioctl(ends[0], FIONREAD, (u64)(uintptr_t)&left), 0);
    CHECK(left, 65536);
    CHECK(sys_read(ends[0], data, 4000), 4000);
    CHECK(sys_write(ends[1], data, 4096), -EAGAIN); // all or nothing up to PIPE_BUF
    CHECK(sys_write(ends[1], data, 4000), 4000);
    CHECK(sys_read(ends[0], data, sizeof(data)), 65536);
    CHECK(sys_write(ends[1], "end", 3), 3);
    CHECK(sys_close(ends[1]), 0);
    CHECK(sys_read(ends[0], data, 10), 3);
    CHECK(sys_read(ends[0], data, 10), 0);
    CHECK(sys_close(ends[0]), 0);
    CHECK(sys_pipe(ends), 0);
    pthread_t thread = start_writer(ends[1], "woken");
    CHECK(sys_read(ends[0], data, 10), 5);
    pthread_join(thread, NULL);
    CHECK(sys_close(ends[0]), 0);
    shim_signal = 0;
    CHECK(sys_write(ends[1], "x", 1), -EPIPE);
    CHECK(shim_signal, SIGPIPE);
    CHECK(sys_close(ends[1]), 0);
}

#define STREAM 3000000

static void *pump(void *argument) {
    static u8 piece[7001];
    for (size_t done = 0; done < STREAM;) {
        for (size_t i = 0; i < sizeof(piece); i++)
            piece[i] = (u8)((done + i) * 31);
        long put = sys_write((int)(long)argument, piece, MIN(sizeof(piece), STREAM - done));
        assert(put > 0);
        done += (size_t)put;
    }
    CHECK(sys_close((int)(long)argument), 0);
    return NULL;
}

static void test_stream(void) {
    int ends[2];
    static u8 piece[5003];
    pthread_t thread;
    CHECK(sys_pipe(ends), 0);
    pthread_create(&thread, NULL, pump, (void *)(long)ends[1]);
    size_t done = 0;
    long got;
    while ((got = sys_read(ends[0], piece, sizeof(piece))) > 0)
        for (long i = 0; i < got; i++, done++)
            assert(piece[i] == (u8)(done * 31));
    CHECK(done, STREAM);
    pthread_join(thread, NULL);
    CHECK(sys_close(ends[0]), 0);
}

static void *open_fifo(void *result) {
    *(long *)result = sys_open("/fifo", O_WRONLY, 0);
    return NULL;
}

static void test_fifo(void) {
    char c = 0;
    long writer = -1;
    pthread_t thread;
    CHECK(sys_mknod("/fifo", S_IFIFO | 0600, 0), 0);
    CHECK(sys_open("/fifo", O_WRONLY | O_NONBLOCK, 0), -ENXIO);
    pthread_create(&thread, NULL, open_fifo, &writer);
    int reader = (int)sys_open("/fifo", O_RDONLY, 0);
    pthread_join(thread, NULL);
    assert(reader >= 0 && writer >= 0);
    CHECK(sys_write((int)writer, "x", 1), 1);
    CHECK(sys_close((int)writer), 0);
    CHECK(sys_read(reader, &c, 1), 1);
    CHECK(sys_read(reader, &c, 1), 0);
    CHECK(sys_close(reader), 0);
    reader = (int)sys_open("/fifo", O_RDONLY | O_NONBLOCK, 0);
    CHECK(sys_read(reader, &c, 1), 0); // nobody writes: the end
    CHECK(sys_close(reader), 0);
    CHECK(sys_unlink("/fifo"), 0);
}

static void test_eventfd(void) {
    u64 value = 3;
    CHECK(sys_eventfd2(0, 1 << 30), -EINVAL);
    int fd = (int)sys_eventfd2(2, EFD_NONBLOCK);
    CHECK(sys_write(fd, &value, 7), -EINVAL);
    CHECK(sys_write(fd, &value, 8), 8);
    CHECK(sys_read(fd, &value, 8), 8);
    CHECK(value, 5);
    CHECK(sys_read(fd, &value, 8), -EAGAIN);
    value = UINT64_MAX;
    CHECK(sys_write(fd, &value, 8), -EINVAL);
    value = UINT64_MAX - 1;
    CHECK(sys_write(fd, &value, 8), 8);
    value = 1;
    CHECK(sys_write(fd, &value, 8), -EAGAIN);
    CHECK(sys_close(fd), 0);
    fd = (int)sys_eventfd2(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(sys_read(fd, &value, 8), 8);
    CHECK(value, 1);
    CHECK(sys_read(fd, &value, 8), 8);
    CHECK(sys_read(fd, &value, 8), -EAGAIN);
    CHECK(sys_close(fd), 0);
}

static void test_timerfd(void) {
    struct itimerspec timer = {{0, 1000000}, {0, 2000000}}, left;
    u64 count;
    CHECK(sys_timerfd_create(99, 0), -EINVAL);
    int fd = (int)sys_timerfd_create(CLOCK_MONOTONIC, 0);
    CHECK(sys_timerfd_settime(1, 0, &timer, NULL), -EINVAL);
    CHECK(sys_timerfd_settime(fd, 0, &timer, NULL), 0);
    struct pollfd poll = {fd, POLLIN, 0};
    CHECK(sys_poll(&poll, 1, 5000), 1);
    CHECK(sys_read(fd, &count, 8), 8);
    assert(count >= 1);
    CHECK(sys_read(fd, &count, 8), 8); // it goes on
    CHECK(sys_timerfd_gettime(fd, &left), 0);
    CHECK(left.it_interval.tv_nsec, 1000000);
    timer.it_value.tv_nsec = 0;
    CHECK(sys_timerfd_settime(fd, 0, &timer, &left), 0);
    CHECK(sys_fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    CHECK(sys_read(fd, &count, 8), -EAGAIN);
    CHECK(sys_close(fd), 0);
}

static void test_poll(void) {
    int ends[2];
    char c;
    CHECK(sys_pipe(ends), 0);
    struct pollfd files[] = {
        {ends[0], POLLIN, 9}, {ends[1], POLLOUT, 9}, {-1, POLLIN, 9}, {77, POLLIN, 9}};
    CHECK(sys_poll(files, 4, 0), 2);
    CHECK(files[0].revents, 0);
    CHECK(files[1].revents, POLLOUT);
    CHECK(files[2].revents, 0);
    CHECK(files[3].revents, POLLNVAL);
    CHECK(sys_poll(files, 1, 1), 0);
    pthread_t thread = start_writer(ends[1], "!");
    CHECK(sys_poll(files, 1, -1), 1);
    CHECK(files[0].revents, POLLIN);
    pthread_join(thread, NULL);
    u64 sets[2][16] = {{1UL << ends[0]}, {1UL << ends[1]}};
    struct timespec none = {0, 0};
    CHECK(sys_pselect6(ends[1] + 1, sets[0], sets[1], NULL, &none, NULL), 2);
    CHECK(sys_read(ends[0], &c, 1), 1);
    CHECK(sys_pselect6(ends[1] + 1, sets[0], sets[1], NULL, &none, NULL), 1);
    CHECK(sets[0][0], 0);
    sets[0][1] = 1; // descriptor 64 is not open
    CHECK(sys_select(65, sets[0], NULL, NULL, NULL), -EBADF);
    CHECK(sys_close(ends[1]), 0);
    CHECK(sys_poll(files, 1, -1), 1);
    CHECK(files[0].revents, POLLHUP);
    CHECK(sys_close(ends[0]), 0);

    // Many files at once need more places than the table has in itself.
    static struct pollfd many[200];
    int numbers[400];
    for (int i = 0; i < 200; i++) {
        CHECK(sys_pipe(numbers + 2 * i), 0);
        many[i] = (struct pollfd){numbers[2 * i], POLLIN, 0};
    }
    thread = start_writer(numbers[2 * 150 + 1], "!");
    CHECK(sys_poll(many, 200, -1), 1);
    CHECK(many[150].revents, POLLIN);
    pthread_join(thread, NULL);
    CHECK(sys_close_range(3, ~0U, 0), 0);
}

static int epoll_now(int epoll, struct epoll_event *events) {
    return (int)sys_epoll_wait(epoll, events, 8, 0);
}

static void *close_later(void *descriptor) {
    usleep(5000);
    CHECK(sys_close((int)(long)descriptor), 0);
    return NULL;
}

static void test_epoll(void) {
    int ends[2];
    char c[4];
    struct epoll_event in = {.events = EPOLLIN, .data.u64 = 7}, events[8];
    CHECK(sys_pipe(ends), 0);
    int epoll = (int)sys_epoll_create1(0);
    CHECK(sys_epoll_create(0), -EINVAL);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &in), -EINVAL);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, 99, &in), -EBADF);
    CHECK(sys_epoll_ctl(ends[0], EPOLL_CTL_ADD, ends[1], &in), -EINVAL);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &in), -ENOENT);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &in), 0);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &in), -EEXIST);
    int plain = (int)sys_open("/plain", O_CREAT | O_RDWR, 0644);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, plain, &in), -EPERM);
    CHECK(sys_close(plain) | sys_unlink("/plain"), 0);
    CHECK(sys_epoll_wait(epoll, events, 0, 0), -EINVAL);
    CHECK(epoll_now(epoll, events), 0);

    CHECK(sys_write(ends[1], "ab", 2), 2); // level-triggered: told until it is read
    CHECK(epoll_now(epoll, events), 1);
    CHECK(events[0].data.u64, 7);
    CHECK(events[0].events, EPOLLIN);
    CHECK(epoll_now(epoll, events), 1);
    in.events = EPOLLIN | EPOLLET; // edge-triggered: told once for each arrival
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &in), 0);
    CHECK(epoll_now(epoll, events), 1);
    CHECK(epoll_now(epoll, events), 0);
    CHECK(sys_write(ends[1], "c", 1), 1);
    CHECK(epoll_now(epoll, events), 1);
    CHECK(epoll_now(epoll, events), 0);
    in.events = EPOLLIN | EPOLLONESHOT;
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &in), 0);
    CHECK(epoll_now(epoll, events), 1);
    CHECK(sys_write(ends[1], "d", 1), 1);
    CHECK(epoll_now(epoll, events), 0);
    CHECK(sys_read(ends[0], c, 4), 4);

    in.events = EPOLLIN;
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &in), 0);
    int outer = (int)sys_epoll_create1(0); // an epoll in an epoll, and that in poll
    CHECK(sys_epoll_ctl(outer, EPOLL_CTL_ADD, epoll, &in), 0);
    CHECK(sys_epoll_ctl(epoll, EPOLL_CTL_ADD, outer, &in), -ELOOP);
    struct pollfd poll = {outer, POLLIN, 0};
    CHECK(sys_poll(&poll, 1, 0), 0);
    pthread_t thread = start_writer(ends[1], "n");
    CHECK(sys_poll(&poll, 1, -1), 1);
    pthread_join(thread, NULL);
    CHECK(epoll_now(outer, events), 1);
    CHECK(sys_read(ends[0], c, 4), 1);
    thread = start_writer(ends[1], "w");
    CHECK(sys_epoll_wait(epoll, events, 8, -1), 1);
    pthread_join(thread, NULL);
    CHECK(sys_read(ends[0], c, 4), 1);

    // A watched file that is closed goes away at once, though somebody waits for it.
    pthread_create(&thread, NULL, close_later, (void *)(long)ends[0]);
    CHECK(sys_epoll_wait(epoll, events, 8, 100), 0);
    pthread_join(thread, NULL);
    shim_signal = 0;
    CHECK(sys_write(ends[1], "x", 1), -EPIPE);
    CHECK(sys_close(ends[1]) | sys_close(epoll) | sys_close(outer), 0);
}

static void read_proc(const char *name, const char *expected) {
    char text[8192] = {0};
    int fd = (int)sys_open(name, O_RDONLY, 0);
    if (fd < 0 || sys_read(fd, text, sizeof(text) - 1) < 0 || strstr(text, expected) == NULL) {
        fprintf(stderr, "%s (%d) has no \"%s\": %s\n", name, fd, expected, text);
        exit(1);
    }
    CHECK(sys_close(fd), 0);
}

static void test_proc(void) {
    CHECK(sys_mkdir("/proc", 0755), 0);
    CHECK(sys_mount("none", "/proc", "procfs", 0, NULL), 0);
    read_proc("/proc/mounts", "none /proc procfs rw 0 0\n");
    read_proc("/proc/self/maps", "00001000-00003000 r-xp 00000000 00:00 0");
    read_proc("/proc/self/status", "Name:\ttest\nUmask:\t0022\n");
    read_proc("/proc/self/stat", "2 (test) R 0 2 ");
    read_proc("/proc/2/cmdline", "/test");
    read_proc("/proc/self/task/2/stat", "2 (test) R 0 2 2 ");
    read_proc("/proc/self/task/2/status", "State:\tR (running)\nTgid:\t2\n");
    read_proc("/proc/self/task/2/status", "nonvoluntary_ctxt_switches:\t0\n");
    read_proc("/proc/2/task/2/comm", "test\n");
    read_proc("/proc/stat", "intr 2\nctxt 1\n");
    read_proc("/proc/vmstat", "pgfault 3\n");
    read_proc("/proc/meminfo", "MemTotal:");
    read_proc("/proc/cpuinfo", "processor\t: 0\n");
    read_proc("/proc/sys/kernel/ostype", "Linux\n");
    read_proc("/proc/uptime", " 0.00\n");
    char target[64] = {0};
    CHECK(sys_readlink("/proc/self", target, sizeof(target)), 1);
    CHECK(sys_readlink("/proc/self/exe", target, sizeof(target)), 5);
    CHECK(sys_readlink("/proc/self/fd/0", target, sizeof(target)), 12);
    assert(strcmp(target, "/dev/console") == 0);
    struct stat s;
    CHECK(sys_stat("/proc/999", &s), -ENOENT);
    CHECK(sys_stat("/proc/02", &s), -ENOENT);
    CHECK(sys_stat("/proc/2/task/3", &s), -ENOENT);
    CHECK(sys_stat("/proc/2/task/TID", &s), -ENOENT);
    CHECK(sys_stat("/proc/self/fd/99", &s), -ENOENT);
    CHECK(sys_open("/proc/uptime", O_WRONLY, 0), -EACCES);
    CHECK(sys_open("/proc/new", O_CREAT | O_WRONLY, 0644), -EACCES);
    int ends[2];
    CHECK(sys_pipe(ends), 0);
    char link[32];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", ends[0]);
    CHECK(sys_stat(link, &s), 0);
    assert(S_ISFIFO(s.st_mode));
    CHECK(sys_close(ends[0]) | sys_close(ends[1]), 0);
    static char buffer[32768];
    int fd = (int)sys_open("/proc", O_RDONLY, 0);
    assert(sys_getdents64(fd, buffer, sizeof(buffer)) > 0);
    CHECK(sys_close(fd), 0);
    CHECK(sys_umount2("/proc", 0), 0);
    CHECK(sys_rmdir("/proc"), 0);
}

static void test_memfd(void) {
    char target[64] = {0};
    int fd = (int)sys_memfd_create("work", 0);
    CHECK(sys_write(fd, "abc", 3), 3);
    CHECK(sys_ftruncate(fd, 10000), 0);
    CHECK(sys_pread64(fd, target, 3, 0), 3);
    CHECK(sys_memfd_create("work", 1 << 30), -EINVAL);
    CHECK(sys_close(fd), 0);
}

int main(void) {
    shim_start(4096);
    test_memfd(); // its filesystem stays
    size_t pages = shim_pages_used();
    test_pipe();
    test_stream();
    test_fifo();
    test_eventfd();
    test_timerfd();
    test_poll();
    test_epoll();
    test_proc();
    test_memfd();
    CHECK(shim_pages_used(), pages);
    puts("ok");
    return 0;
}
