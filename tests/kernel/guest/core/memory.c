// Memory: mmap of memory and files, protection, demand paging, mremap, huge and tiny mallocs.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char *map(size_t size, int protection) {
    char *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void anonymous(void) {
    char *p = map(1 << 20, PROT_READ | PROT_WRITE);

    for (int i = 0; i < 1 << 20; i += 4096)
        CHECK(p[i] == 0);
    memset(p, 7, 1 << 20);
    CHECK(munmap(p + 8192, 4096) == 0); // a hole in the middle
    CHECK(p[4096] == 7 && p[12288] == 7);
    char *again = mmap(p + 8192, 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(again == p + 8192 && again[0] == 0);
    CHECK(madvise(p, 4096, MADV_DONTNEED) == 0 && p[0] == 0 && p[4096] == 7);
    CHECK(munmap(p, 1 << 20) == 0);

    // Far more address space than memory: only what is touched costs.
    char *huge = mmap(NULL, 1UL << 36, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(huge != MAP_FAILED);
    huge[(1UL << 36) - 1] = 1;
    huge[1UL << 35] = 2;
    CHECK(huge[0] == 0 && munmap(huge, 1UL << 36) == 0);
}

static void resizing(void) {
    char *p = map(8192, PROT_READ | PROT_WRITE);

    p[0] = 1;
    p[8191] = 2;
    p = mremap(p, 8192, 4 << 20, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED && p[0] == 1 && p[8191] == 2 && p[8192] == 0);
    p = mremap(p, 4 << 20, 4096, 0);
    CHECK(p != MAP_FAILED && p[0] == 1);
    munmap(p, 4096);
    CHECK(mremap(p, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);

    char *heap = malloc(100);
    memset(heap, 9, 100);
    for (size_t size = 1000; size < 20 << 20; size *= 3)
        heap = realloc(heap, size);
    CHECK(heap[0] == 9 && heap[99] == 9);
    free(heap);
}

static void files(void) {
    int fd = open("/tmp/osvlab-map-test", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char page[4096];

    CHECK(fd >= 0);
    memset(page, 'a', sizeof(page));
    CHECK(write(fd, page, 4096) == 4096 && write(fd, page, 100) == 100);

    char *private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(private != MAP_FAILED && shared != MAP_FAILED);
    CHECK(private[0] == 'a' && private[4195] == 'a' && private[4196] == 0);
    private[0] = 'p';
    CHECK(shared[0] == 'a'); // a private change stays private
    shared[1] = 's';
    CHECK(pread(fd, page, 2, 0) == 2 && page[0] == 'a' && page[1] == 's');
    CHECK(pwrite(fd, "w", 1, 2) == 1 && shared[2] == 'w');
    CHECK(munmap(private, 8192) == 0 && munmap(shared, 8192) == 0);

    char *only_read = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(only_read[1] == 's');
    CHECK(mprotect(only_read, 4096, PROT_READ | PROT_WRITE) == 0);
    only_read[1] = 'x';
    CHECK(pread(fd, page, 2, 0) == 2 && page[1] == 's');
    munmap(only_read, 4096);

    // read() straight into a mapping of the same file
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(pread(fd, shared, 100, 4096) == 100 && shared[0] == 'a');
    munmap(shared, 4096);
    close(fd);
    unlink("/tmp/osvlab-map-test");
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);
}

static void errors(void) {
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == EINVAL);
    CHECK(munmap((void *)1, 4096) == -1 && errno == EINVAL);
    CHECK(mprotect((void *)0x500000000000, 4096, PROT_READ) == -1 && errno == ENOMEM);
    // Wild pointers given to system calls are errors, not crashes.
    char *volatile wild = (char *)0x10;
    CHECK(write(1, wild, 10) == -1 && errno == EFAULT);
    CHECK(open((char *)0x123456789000, O_RDONLY) == -1 && errno == EFAULT);
    struct stat s;
    CHECK(stat((char *)-1L, &s) == -1 && errno == EFAULT);
    int fd = open("/dev/zero", O_RDONLY);
    CHECK(read(fd, (void *)0xdead000, 10) == -1 && errno == EFAULT);
    CHECK(read(fd, (void *)0x8000000000000000, 10) == -1 && errno == EFAULT);
    close(fd);
}

static int answer(void) {
    return 42;
}

static void code(void) {
    char *p = map(4096, PROT_READ | PROT_WRITE);
    static const unsigned char program[] = {0xb8, 42, 0, 0, 0, 0xc3}; // mov $42, %eax; ret

    memcpy(p, program, sizeof(program));
    CHECK(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0);
    CHECK(((int (*)(void))(uintptr_t)p)() == answer());
    munmap(p, 4096);
}

int main(void) {
    anonymous();
    resizing();
    files();
    errors();
    code();
    puts("memory: ok");
    return 0;
}
