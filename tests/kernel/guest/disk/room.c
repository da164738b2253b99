// Names on a disk that is full: what a file that was just removed held is room for them, also while
// somebody is still writing that file back. "room DIRECTORY"

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define PART (2 << 20)
#define ROUNDS 3

#define CHECK(condition)                                                                     \
    ((condition)                                                                             \
         ? (void)0                                                                           \
         : (printf("%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno), \
            exit(1)))

// Until it is as large as it may be, or the disk is full.
static void append(const char *name, off_t most) {
    static unsigned buffer[1 << 14];
    int fd = open(name, O_CREAT | O_WRONLY | O_APPEND, 0644);
    off_t size = 0;
    CHECK(fd >= 0 || errno == ENOSPC);
    for (ssize_t put = 1; put > 0 && size < most; size += put) {
        for (size_t i = 0; i < sizeof(buffer) / sizeof(buffer[0]); i++)
            buffer[i] = (unsigned)rand();
        put = write(fd, buffer, sizeof(buffer));
    }
    close(fd);
}

static volatile unsigned begun;
static volatile bool closed;

// Holds the file, of which nothing is in memory, as long as it takes to read it.
static void *read_all(void *file) {
    static char buffer[PART];
    begun++;
    CHECK(pread(*(int *)file, buffer + PAGE, PART - PAGE, PAGE) == PART - PAGE);
    CHECK(close(*(int *)file) == 0);
    closed = true;
    return NULL;
}

static void *synchronise(void *unused) {
    begun++;
    sync();
    return unused;
}

static pthread_t start(void *(*function)(void *), void *argument) {
    pthread_t thread;
    unsigned before = begun;
    CHECK(pthread_create(&thread, NULL, function, argument) == 0);
    while (begun == before)
        sched_yield();
    return thread;
}

static int make_name(unsigned round) {
    char name[32];
    snprintf(name, sizeof(name), "made%u", round);
    if (round == 0)
        return link("kept", name);
    if (round == 1)
        return rename("made0", name);
    return mkdir(name, 0755);
}

// Whoever syncs has the file in its hands and waits for the one who reads it.
static void replace(unsigned round) {
    char name[32];
    snprintf(name, sizeof(name), "part%u", round);
    append("rest", 1L << 40);
    sync();
    int fd = open(name, O_RDWR);
    char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && map != MAP_FAILED);
    map[0]++;
    CHECK(munmap(map, PAGE) == 0);
    closed = false;
    pthread_t reader = start(read_all, &fd), writer = start(synchronise, NULL);
    unsigned tries = 0;
    bool free = false;
    CHECK(unlink(name) == 0);
    for (int status = -1; status < 0;) {
        CHECK(!free); // else it may be open still
        if (tries++ > 10)
            sched_yield();
        free = closed;
        status = make_name(round);
    }
    CHECK(pthread_join(reader, NULL) == 0 && pthread_join(writer, NULL) == 0);
}

int main(int count, char **arguments) {
    char name[32];
    CHECK(count == 2 && chdir(arguments[1]) == 0);
    append("kept", 1);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof(name), "part%d", i);
        append(name, PART);
    }
    CHECK(chdir("/") == 0 && umount2(arguments[1], 0) == 0);
    CHECK(mount("/dev/vblk1", arguments[1], "zfs", 0, "osv") == 0 && chdir(arguments[1]) == 0);
    for (unsigned round = 0; round < ROUNDS; round++)
        replace(round);
    printf("room: ok\n");
    return 0;
}
