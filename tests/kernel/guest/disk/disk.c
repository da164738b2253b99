// Files on a writable disk: what was written is there after the next mount, or the next boot.
// "disk WHAT DIRECTORY"; what it writes follows from the path, so that a later run can check it.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

#define CHECK(condition)                                                                     \
    ((condition)                                                                             \
         ? (void)0                                                                           \
         : (printf("%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno), \
            exit(1)))

static uint8_t byte_at(unsigned seed, size_t i) {
    uint64_t x = (seed * 0x9E3779B97F4A7C15UL) ^ (i / 7 * 0xC2B2AE3D27D4EB4FUL);
    return (uint8_t)(x >> 32 ^ i);
}

static void fill(uint8_t *to, unsigned seed, size_t from, size_t size) {
    for (size_t i = 0; i < size; i++)
        to[i] = byte_at(seed, from + i);
}

static void check(const uint8_t *data, unsigned seed, size_t from, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != byte_at(seed, from + i)) {
            printf("seed %u: byte %zu is %d, not %d\n", seed, from + i, data[i],
                   byte_at(seed, from + i));
            exit(1);
        }
}

static void write_file(const char *name, unsigned seed, size_t size) {
    static uint8_t buffer[100000];
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    CHECK(fd >= 0);
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < sizeof(buffer) ? size - done : sizeof(buffer);
        fill(buffer, seed, done, piece);
        CHECK(write(fd, buffer, piece) == (ssize_t)piece);
        done += piece;
    }
    CHECK(close(fd) == 0);
}

static void check_file(const char *name, unsigned seed, size_t size) {
    static uint8_t buffer[70000];
    struct stat s;
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &s) == 0 && s.st_size == (off_t)size);
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, buffer, sizeof(buffer));
        CHECK(got > 0);
        check(buffer, seed, done, (size_t)got);
        done += (size_t)got;
    }
    CHECK(read(fd, buffer, 1) == 0 && close(fd) == 0);
}

static const size_t sizes[] = {0,    1,     511,    512,    513,    4095,   4096,
                               4097, 65536, 131071, 131072, 131073, 300001, 1500000};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static char *size_name(size_t i) {
    static char name[32];
    snprintf(name, sizeof(name), "size%zu", sizes[i]);
    return name;
}

// --- Mappings

static void map_shared(void) {
    int fd = open("shared", O_CREAT | O_RDWR | O_TRUNC, 0644);
    CHECK(fd >= 0 && ftruncate(fd, 50 * PAGE + 10) == 0);
    uint8_t *map = mmap(NULL, 51 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), back[10];
    CHECK(map != MAP_FAILED);
    fill(map, 1, 0, 50 * PAGE + 10);
    CHECK(msync(map, 51 * PAGE, MS_SYNC) == 0);
    fill(map + 7 * PAGE, 2, 0, PAGE); // dirty again, after it was written
    CHECK(fsync(fd) == 0);
    CHECK(pread(fd, back, 10, 7 * PAGE) == 10);
    check(back, 2, 0, 10);
    fill(map + 9 * PAGE, 3, 0, PAGE); // not synced by anybody but the unmapping
    CHECK(munmap(map, 51 * PAGE) == 0 && close(fd) == 0);
    CHECK(msync(map, PAGE, MS_SYNC) == -1 && errno == ENOMEM);
    CHECK(msync(map + 1, PAGE, MS_SYNC) == -1 && errno == EINVAL);
}

static void check_shared(void) {
    int fd = open("shared", O_RDONLY);
    uint8_t *map = mmap(NULL, 51 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(fd >= 0 && map != MAP_FAILED);
    check(map, 1, 0, 7 * PAGE);
    check(map + 7 * PAGE, 2, 0, PAGE);
    check(map + 8 * PAGE, 1, 8 * PAGE, PAGE);
    check(map + 9 * PAGE, 3, 0, PAGE);
    check(map + 10 * PAGE, 1, 10 * PAGE, 40 * PAGE + 10);
    for (size_t i = 50 * PAGE + 10; i < 51 * PAGE; i++)
        CHECK(map[i] == 0);
    CHECK(munmap(map, 51 * PAGE) == 0 && close(fd) == 0);
}

// A file that is cut and grows again has no memory of what it held, mapped or not.
static void cut(void) {
    write_file("cut", 4, 40 * PAGE + 100);
    int fd = open("cut", O_RDWR);
    uint8_t *map = mmap(NULL, 41 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), c;
    CHECK(fd >= 0 && map != MAP_FAILED && map[3 * PAGE] == byte_at(4, 3 * PAGE));
    map[40 * PAGE + 200] = 99; // behind the end
    CHECK(ftruncate(fd, 41 * PAGE) == 0 && pread(fd, &c, 1, 40 * PAGE + 200) == 1 && c == 0);
    CHECK(map[40 * PAGE + 200] == 0);
    CHECK(ftruncate(fd, 5 * PAGE + 5) == 0 && ftruncate(fd, 20 * PAGE) == 0);
    CHECK(map[5 * PAGE + 4] == byte_at(4, 5 * PAGE + 4) && map[5 * PAGE + 5] == 0);
    CHECK(map[19 * PAGE] == 0);
    map[18 * PAGE] = 77;
    CHECK(pwrite(fd, "end", 3, 21 * PAGE - 3) == 3 && map[20 * PAGE] == 0);
    CHECK(pread(fd, &c, 1, 18 * PAGE) == 1 && c == 77);
    CHECK(munmap(map, 41 * PAGE) == 0 && close(fd) == 0);
}

static void check_cut(void) {
    static uint8_t data[22 * PAGE];
    int fd = open("cut", O_RDONLY);
    CHECK(fd >= 0 && read(fd, data, sizeof(data)) == 21 * PAGE && close(fd) == 0);
    check(data, 4, 0, 5 * PAGE + 5);
    for (size_t i = 5 * PAGE + 5; i < 21 * PAGE - 3; i++)
        CHECK(data[i] == (i == 18 * PAGE ? 77 : 0));
    CHECK(memcmp(data + 21 * PAGE - 3, "end", 3) == 0);
}

static void holes(void) {
    int fd = open("holes", O_CREAT | O_RDWR | O_TRUNC, 0644);
    CHECK(fd >= 0 && pwrite(fd, "a", 1, 1 << 20) == 1 && pwrite(fd, "z", 1, 3 << 20) == 1);
    off_t data = lseek(fd, 0, SEEK_DATA), hole = lseek(fd, 1 << 20, SEEK_HOLE);
    CHECK(data <= 1 << 20 && data >= 0 && hole > 1 << 20 && hole <= (3 << 20) + 1);
    CHECK(close(fd) == 0);
}

// What is punched may be a hole already, and larger than all that can be written.
static void punch(void) {
    off_t large = 1L << 42;
    char c = 'c';
    int fd = open("holes", O_RDWR);
    CHECK(fd >= 0 && ftruncate(fd, large) == 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (1 << 20) + 1, large) == 0);
    CHECK(pread(fd, &c, 1, 3 << 20) == 1 && c == 0 && lseek(fd, 0, SEEK_END) == large);
    CHECK(pwrite(fd, "z", 1, 3 << 20) == 1 && ftruncate(fd, (3 << 20) + 1) == 0 && close(fd) == 0);
}

static void check_holes(void) {
    char c[3];
    int fd = open("holes", O_RDONLY);
    CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) == (3 << 20) + 1);
    CHECK(pread(fd, c, 3, (1 << 20) - 1) == 3 && memcmp(c, "\0a\0", 3) == 0);
    CHECK(pread(fd, c, 3, 3 << 20) == 1 && c[0] == 'z' && close(fd) == 0);
}

static void attributes(void) {
    struct timespec times[2] = {{1000, 5000}, {2000000000, 6000}};
    write_file("mode", 5, 10);
    CHECK(chown("mode", 12, 34) == 0 && chmod("mode", 04751) == 0);
    CHECK(utimensat(AT_FDCWD, "mode", times, 0) == 0);
    CHECK(symlink("mode", "short") == 0);
    char target[1000];
    memset(target, 'x', sizeof(target) - 1);
    target[sizeof(target) - 1] = 0;
    CHECK(symlink(target, "long") == 0 && link("mode", "other") == 0);
    CHECK(mkdir("folder", 0700) == 0 && mkdir("folder/in", 0755) == 0);
    CHECK(mknod("pipe", S_IFIFO | 0600, 0) == 0);
    write_file("suid", 6, 5000);
    CHECK(chmod("suid", 06755) == 0);
    int fd = open("suid", O_WRONLY);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static void check_attributes(void) {
    struct stat s;
    char text[2000];
    CHECK(stat("mode", &s) == 0 && s.st_mode == (S_IFREG | 04751) && s.st_uid == 12);
    CHECK(s.st_gid == 34 && s.st_nlink == 2 && s.st_size == 10);
    CHECK(s.st_mtim.tv_sec == 2000000000 && s.st_mtim.tv_nsec == 6000 && s.st_atim.tv_sec == 1000);
    ino_t inode = s.st_ino;
    CHECK(stat("other", &s) == 0 && s.st_ino == inode);
    CHECK(readlink("short", text, sizeof(text)) == 4 && memcmp(text, "mode", 4) == 0);
    CHECK(readlink("long", text, sizeof(text)) == 999 && text[998] == 'x');
    CHECK(stat("folder", &s) == 0 && s.st_mode == (S_IFDIR | 0700) && s.st_nlink == 4);
    CHECK(stat("pipe", &s) == 0 && S_ISFIFO(s.st_mode));
    CHECK(stat("suid", &s) == 0 && (s.st_mode & 0777) == 0755);
}

static void names(void) {
    char name[64];
    CHECK(mkdir("many", 0755) == 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "many/name%d", i);
        write_file(name, 100 + (unsigned)i, (size_t)i * 13);
    }
    for (int i = 0; i < 300; i += 3) {
        snprintf(name, sizeof(name), "many/name%d", i);
        CHECK(unlink(name) == 0);
    }
    CHECK(rename("many/name1", "many/name2") == 0 && rename("many", "moved") == 0);
    CHECK(rename("moved/name4", "folder/in/name4") == 0);
    CHECK(rename("moved", "folder/moved") == 0);
    CHECK(rename("folder", "folder/moved/in") == -1 && errno == EINVAL);
    CHECK(rmdir("folder/moved") == -1 && errno == ENOTEMPTY);
}

static void check_names(void) {
    char name[64];
    for (int i = 5; i < 300; i++) {
        snprintf(name, sizeof(name), "folder/moved/name%d", i);
        if (i % 3 == 0)
            CHECK(access(name, F_OK) == -1 && errno == ENOENT);
        else
            check_file(name, 100 + (unsigned)i, (size_t)i * 13);
    }
    check_file("folder/moved/name2", 101, 13);
    CHECK(access("folder/moved/name1", F_OK) == -1 && access("many", F_OK) == -1);
    check_file("folder/in/name4", 104, 52);
}

// --- Open files without a name

static void unnamed(void) {
    uint8_t data[3 * PAGE], back[3 * PAGE];
    int fd = open("unnamed", O_CREAT | O_RDWR | O_TRUNC, 0644);
    fill(data, 8, 0, sizeof(data));
    CHECK(fd >= 0 && write(fd, data, PAGE) == PAGE && unlink("unnamed") == 0);
    CHECK(pwrite(fd, data, sizeof(data), 0) == sizeof(data) && fsync(fd) == 0);
    int again = open("unnamed", O_CREAT | O_RDWR | O_EXCL, 0644); // another one
    CHECK(again >= 0 && write(again, "new", 3) == 3);
    CHECK(pread(fd, back, sizeof(back), 0) == sizeof(back));
    check(back, 8, 0, sizeof(back));
    struct stat s;
    CHECK(fstat(fd, &s) == 0 && s.st_nlink == 0 && close(fd) == 0 && close(again) == 0);
    CHECK(mkdir("gone", 0755) == 0 && (fd = open("gone", O_RDONLY | O_DIRECTORY)) >= 0);
    CHECK(rmdir("gone") == 0 && openat(fd, "x", O_CREAT | O_RDWR, 0644) == -1 && errno == ENOENT);
    CHECK(close(fd) == 0);
}

static void synchronous(void) {
    int fd = open("synchronous", O_CREAT | O_WRONLY | O_TRUNC | O_SYNC, 0644);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_SYNC) == O_SYNC);
    struct iovec two[] = {{"ab", 2}, {"cd", 2}};
    CHECK(write(fd, "1234", 4) == 4 && writev(fd, two, 2) == 4 && pwrite(fd, "X", 1, 0) == 1);
    CHECK(close(fd) == 0 && (fd = open(".", O_RDONLY)) >= 0);
    CHECK(syncfs(fd) == 0 && fsync(fd) == 0 && close(fd) == 0);
    CHECK((fd = open("synchronous", O_RDWR)) >= 0 && fdatasync(fd) == 0);
    CHECK(sync_file_range(fd, 0, 8, 0) == 0 && close(fd) == 0);
    CHECK(fsync(fd) == -1 && errno == EBADF);
    sync();
}

static void write_all(void) {
    for (size_t i = 0; i < SIZES; i++)
        write_file(size_name(i), (unsigned)i, sizes[i]);
    map_shared();
    cut();
    holes();
    attributes();
    names();
    unnamed();
    synchronous();
}

static void check_all(void) {
    for (size_t i = 0; i < SIZES; i++)
        check_file(size_name(i), (unsigned)i, sizes[i]);
    check_shared();
    check_cut();
    check_holes();
    check_attributes();
    check_names();
    CHECK(access("gone", F_OK) == -1);
}

// --- More than fits into memory, or onto the disk

static void write_big(size_t size) {
    write_file("big", 9, size);
    check_file("big", 9, size);
}

static void map_big(size_t size) {
    int fd = open("mapped", O_CREAT | O_RDWR | O_TRUNC, 0644);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (size_t i = 0; i < size; i += PAGE)
        fill(map + i, 10, i, 64);
    for (size_t i = 0; i < size; i += PAGE)
        check(map + i, 10, i, 64);
    CHECK(munmap(map, size) == 0 && close(fd) == 0);
}

static void make_many(size_t count) {
    char name[64];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "folder %zu", i);
        CHECK(mkdir(name, 0755) == 0);
    }
}

static void fill_up(void) {
    static uint8_t buffer[1 << 16];
    char name[64] = "name";
    int count = 0;
    int fd = open("full", O_CREAT | O_RDWR | O_TRUNC, 0644);
    off_t end = 0;
    ssize_t put;
    CHECK(fd >= 0);
    do {
        fill(buffer, 11, (size_t)end, sizeof(buffer));
        put = write(fd, buffer, sizeof(buffer));
        end += put > 0 ? put : 0;
    } while (put > 0);
    CHECK(put == -1 && errno == ENOSPC && end > (1 << 20));
    CHECK(fsync(fd) == 0 && close(fd) == 0);
    check_file("full", 11, (size_t)end);
    while ((fd = open(name, O_CREAT | O_WRONLY, 0644)) >= 0 && close(fd) == 0)
        snprintf(name, sizeof(name), "name%d", count++);
    CHECK(errno == ENOSPC && unlink("full") == 0);
    write_file("after", 12, 1 << 20);
    check_file("after", 12, 1 << 20);
    printf("filled %ld MiB\n", (long)end >> 20);
}

// --- The end without warning

static void end_suddenly(void) {
    write_file("kept", 20, 200000);
    int fd = open("kept", O_RDONLY), open_one = open("nameless", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0 && fsync(fd) == 0 && open_one >= 0);
    CHECK(write(open_one, "data", 4) == 4 && unlink("nameless") == 0);
    CHECK(fsync(open_one) == 0);
    write_file("lost", 21, 200000);
    printf("now\n");
    fflush(stdout);
    pause();
}

// Files come and go for ever. Each is announced when it is sure to be on the disk.
#define ALIVE 12

static size_t churn_size(unsigned i) {
    return i * 7919U % 300000;
}

static void churn(unsigned first) {
    char name[64], other[64];
    for (unsigned i = first;; i++) {
        snprintf(name, sizeof(name), "part%u", i);
        snprintf(other, sizeof(other), "file%u", i);
        write_file(name, i, churn_size(i));
        CHECK(rename(name, other) == 0);
        int fd = open(other, O_RDONLY);
        CHECK(fd >= 0 && fsync(fd) == 0 && close(fd) == 0);
        printf("kept %u\n", i);
        fflush(stdout);
        snprintf(name, sizeof(name), "folder%u", i % 5);
        if (mkdir(name, 0755) < 0)
            CHECK(errno == EEXIST && rmdir(name) == 0);
        snprintf(name, sizeof(name), "file%u", i - ALIVE);
        if (i >= ALIVE)
            CHECK(unlink(name) == 0 || errno == ENOENT);
        write_file("overwritten", i, 150000); // not synced: any of its rounds may be there
    }
}

static void check_churn(unsigned last) {
    char name[64];
    for (unsigned i = last < ALIVE ? 0 : last - ALIVE + 1; i <= last; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        check_file(name, i, churn_size(i));
    }
}

// --- Everything at once

// Whoever writes byte i of a file writes the same, so whatever order things happen in, a byte is that
// or, where nothing was written or it was cut, 0.
#define FILES 6
#define LARGEST 400000
static int seconds;

static void check_loose(const uint8_t *data, unsigned seed, size_t from, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0 && data[i] != byte_at(seed, from + i)) {
            printf("file %u: byte %zu is %d\n", seed, from + i, data[i]);
            exit(1);
        }
}

static void write_some(int fd, unsigned seed, size_t at, uint8_t *buffer, size_t size) {
    fill(buffer, seed, at, size);
    ssize_t put = pwrite(fd, buffer, size, (off_t)at);
    CHECK(put == (ssize_t)size);
}

static void read_some(int fd, unsigned seed, size_t at, uint8_t *buffer, size_t size) {
    ssize_t got = pread(fd, buffer, size, (off_t)at);
    CHECK(got >= 0);
    check_loose(buffer, seed, at, (size_t)got);
}

// Other threads may cut the file at any time, and touching what is gone would be a SIGBUS; so the
// kernel does it, on behalf of a system call.
static void map_some(int fd, unsigned seed, size_t at, uint8_t *buffer, size_t size) {
    static const char zero[1];
    size_t start = at / PAGE * PAGE;
    uint8_t *map = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
    int pipes[2];
    CHECK(map != MAP_FAILED && pipe(pipes) == 0);
    buffer[0] = byte_at(seed, at);
    CHECK(write(pipes[1], buffer, 1) == 1);
    CHECK(read(pipes[0], map + (at - start), 1) == 1 || errno == EFAULT);
    if (write(pipes[1], map + (at - start), 1) == 1)
        CHECK(read(pipes[0], buffer, 1) == 1);
    CHECK(buffer[0] == byte_at(seed, at) || buffer[0] == zero[0]);
    CHECK(msync(map, size, MS_SYNC) == 0 && munmap(map, size + PAGE) == 0);
    CHECK(close(pipes[0]) == 0 && close(pipes[1]) == 0);
}

static void come_and_go(unsigned number, unsigned *dice) {
    char name[64], other[64];
    snprintf(name, sizeof(name), "names/%u-%d", number, rand_r(dice) % 20);
    snprintf(other, sizeof(other), "names/%u", (unsigned)rand_r(dice) % 20);
    int fd = open(name, O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, name, strlen(name)) == (ssize_t)strlen(name));
    if (rand_r(dice) % 2)
        CHECK(rename(name, other) == 0);
    else
        CHECK(unlink(name) == 0);
    CHECK(pread(fd, other, 5, 0) == 5 && memcmp(other, "names", 5) == 0 && close(fd) == 0);
}

static void *act(void *argument) {
    unsigned number = (unsigned)(uintptr_t)argument, dice = number;
    uint8_t *buffer = malloc(70000);
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += seconds;
    do {
        unsigned file = (unsigned)rand_r(&dice) % FILES;
        size_t at = (size_t)rand_r(&dice) % LARGEST, size = 1 + (size_t)rand_r(&dice) % 69999;
        char name[32];
        snprintf(name, sizeof(name), "shared%u", file);
        int fd = open(name, O_CREAT | O_RDWR, 0644), what = rand_r(&dice) % 32;
        CHECK(fd >= 0);
        if (what < 10)
            write_some(fd, file, at, buffer, size);
        else if (what < 20)
            read_some(fd, file, at, buffer, size);
        else if (what < 23)
            CHECK(ftruncate(fd, (off_t)at) == 0);
        else if (what < 26)
            map_some(fd, file, at, buffer, size);
        else if (what < 27)
            CHECK(fsync(fd) == 0);
        else if (what < 28)
            CHECK(lseek(fd, (off_t)at, SEEK_HOLE) >= 0 || errno == ENXIO);
        else
            come_and_go(number, &dice);
        CHECK(close(fd) == 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec);
    free(buffer);
    return NULL;
}

static void all_at_once(void) {
    pthread_t threads[8];
    CHECK(mkdir("names", 0755) == 0 || errno == EEXIST);
    for (uintptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, act, (void *)(i + 1)) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void check_shared_files(void) {
    static uint8_t buffer[LARGEST + 70000];
    for (unsigned file = 0; file < FILES; file++) {
        char name[32];
        snprintf(name, sizeof(name), "shared%u", file);
        int fd = open(name, O_RDONLY);
        ssize_t got = read(fd, buffer, sizeof(buffer));
        CHECK(fd >= 0 && got >= 0 && close(fd) == 0);
        check_loose(buffer, file, 0, (size_t)got);
    }
}

// --- Logs

// Whoever appends through an open file of its own loses nothing: no two write to the same place.
#define APPENDERS 4
#define RECORDS 60

struct record {
    unsigned writer, number, size;
};

static void *append_records(void *argument) {
    unsigned writer = (unsigned)(uintptr_t)argument, dice = writer;
    static __thread uint8_t buffer[100100];
    int fd = open("appended", O_WRONLY | O_APPEND | O_CREAT, 0644);
    CHECK(fd >= 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        struct record record = {writer, i, sizeof(record) + (unsigned)rand_r(&dice) % 100000};
        memcpy(buffer, &record, sizeof(record));
        fill(buffer + sizeof(record), writer * RECORDS + i, 0, record.size - sizeof(record));
        struct iovec two[] = {{buffer, 100}, {buffer + 100, record.size - 100}};
        if (record.size > 100 && i % 2)
            CHECK(writev(fd, two, 2) == record.size);
        else
            CHECK(write(fd, buffer, record.size) == record.size);
    }
    CHECK(close(fd) == 0);
    return NULL;
}

static void append(void) {
    static uint8_t data[APPENDERS * RECORDS * 100100];
    pthread_t threads[APPENDERS];
    unsigned next[APPENDERS] = {0};
    for (uintptr_t i = 0; i < APPENDERS; i++)
        CHECK(pthread_create(&threads[i], NULL, append_records, (void *)i) == 0);
    for (int i = 0; i < APPENDERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    int fd = open("appended", O_RDONLY);
    ssize_t size = 0, got;
    CHECK(fd >= 0);
    while ((got = read(fd, data + size, sizeof(data) - (size_t)size)) > 0)
        size += got;
    for (ssize_t at = 0; at < size;) {
        struct record record;
        memcpy(&record, data + at, sizeof(record));
        CHECK(record.writer < APPENDERS && record.number == next[record.writer]++);
        check(data + at + sizeof(record), record.writer * RECORDS + record.number, 0,
              record.size - sizeof(record));
        at += record.size;
    }
    for (int i = 0; i < APPENDERS; i++)
        CHECK(next[i] == RECORDS);
    CHECK(close(fd) == 0);
}

// What a write was told is there for it is there when it is written: a byte takes a whole record.
static void scatter(void) {
    int fd = open("scattered", O_CREAT | O_RDWR | O_TRUNC, 0644);
    off_t step = 1 << 17, end = 2000 * step, at = 0;
    CHECK(fd >= 0 && ftruncate(fd, end) == 0);
    while (at < end && pwrite(fd, "data", 4, at) == 4)
        at += step;
    CHECK(at == end || errno == ENOSPC);
    CHECK(fsync(fd) == 0 && at > 100 * step);
    for (char four[4]; at > 0;)
        CHECK(pread(fd, four, 4, at -= step) == 4 && memcmp(four, "data", 4) == 0);
    CHECK(close(fd) == 0 && unlink("scattered") == 0);
}

// --- A disk that fails

static void fail(void) {
    write_file("before", 40, 50000);
    sync();
    write_file("broken", 41, 50000);
    int fd = open("broken", O_RDWR), other = open("before", O_RDWR);
    CHECK(fd >= 0 && other >= 0 && fsync(fd) == -1 && errno == EIO);
    CHECK(fsync(fd) == -1 && errno == EIO && fdatasync(other) == -1 && errno == EIO);
    CHECK(write(other, "x", 1) == -1 && errno == EROFS);
    CHECK(open("new", O_CREAT | O_WRONLY, 0644) == -1 && errno == EROFS);
    CHECK(unlink("before") == -1 && errno == EROFS);
    check_file("before", 40, 50000);
    CHECK(close(fd) == 0 && close(other) == 0);
}

// --- Mounts

// What is open, mapped, or somebody's directory is in use; what is only dirty is not.
static void stay_mounted(const char *directory) {
    write_file("dirty", 30, 100000);
    CHECK(umount2(directory, 0) == -1 && errno == EBUSY && chdir("/") == 0);
    char name[256];
    snprintf(name, sizeof(name), "%s/dirty", directory);
    int fd = open(name, O_RDWR);
    CHECK(fd >= 0 && umount2(directory, 0) == -1 && errno == EBUSY);
    char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && close(fd) == 0);
    CHECK(umount2(directory, 0) == -1 && errno == EBUSY);
    map[0] = 'x';
    CHECK(munmap(map, PAGE) == 0 && umount2(directory, 0) == 0);
    CHECK(access(name, F_OK) == -1 && umount2(directory, 0) == -1 && errno == EINVAL);
    CHECK(mount("/dev/vblk1", directory, "zfs", 0, "osv") == 0);
    CHECK((fd = open(name, O_RDONLY)) >= 0 && read(fd, name, 1) == 1 && name[0] == 'x');
    CHECK(close(fd) == 0 && mount("/dev/vblk1", directory, "zfs", 0, "osv/none") == -1);
    CHECK(errno == ENOENT && mount("/dev/vblk1", "/tmp", "zfs", 0, "osv/data") == 0);
    CHECK(umount2(directory, 0) == 0 && umount2("/tmp", 0) == 0);
}

int main(int count, char **arguments) {
    CHECK(count >= 3 && chdir(arguments[2]) == 0);
    size_t size = count > 3 ? strtoul(arguments[3], NULL, 10) << 20 : 0;
    const char *what = arguments[1];
    if (strcmp(what, "write") == 0)
        write_all();
    else if (strcmp(what, "check") == 0)
        check_all();
    else if (strcmp(what, "big") == 0)
        write_big(size);
    else if (strcmp(what, "map") == 0)
        map_big(size);
    else if (strcmp(what, "many") == 0)
        make_many(strtoul(arguments[3], NULL, 10));
    else if (strcmp(what, "full") == 0)
        fill_up();
    else if (strcmp(what, "punch") == 0)
        punch();
    else if (strcmp(what, "append") == 0)
        append();
    else if (strcmp(what, "scatter") == 0)
        scatter();
    else if (strcmp(what, "end") == 0)
        end_suddenly();
    else if (strcmp(what, "kept") == 0)
        check_file("kept", 20, 200000);
    else if (strcmp(what, "churn") == 0)
        churn((unsigned)strtoul(arguments[3], NULL, 10));
    else if (strcmp(what, "churned") == 0)
        check_churn((unsigned)strtoul(arguments[3], NULL, 10));
    else if (strcmp(what, "threads") == 0) {
        seconds = atoi(arguments[3]);
        all_at_once();
        check_shared_files();
    } else if (strcmp(what, "loose") == 0)
        check_shared_files();
    else if (strcmp(what, "fail") == 0)
        fail();
    else if (strcmp(what, "busy") == 0)
        stay_mounted(arguments[2]);
    else
        return 2;
    printf("%s: ok\n", what);
    return 0;
}
