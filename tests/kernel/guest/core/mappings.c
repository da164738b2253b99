// The edges of mmap: what is refused, files that shrink under their mappings, moving.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define PAGE 4096UL

static sigjmp_buf back;
static volatile sig_atomic_t got;

static void jump(int signal) {
    got = signal;
    siglongjmp(back, 1);
}

// Does reading (or writing) there end with this signal? 0: it works.
static int touch(volatile char *place, int write) {
    got = 0;
    if (sigsetjmp(back, 1) == 0) {
        char c = *place;
        if (write)
            *place = c;
    }
    return got;
}

static char *map(void *at, size_t size, int protection, int flags, int file, off_t offset) {
    char *place = mmap(at, size, protection, flags, file, offset);
    CHECK(place != MAP_FAILED);
    return place;
}

static int make_file(const char *name, size_t size) {
    int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && ftruncate(file, (off_t)size) == 0);
    return file;
}

static void shrinking(void) {
    int file = make_file("/tmp/shrinks", 4 * PAGE);
    char *shared = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    char *private = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);

    memset(shared, 's', 4 * PAGE);
    CHECK(private[3 * PAGE] == 's');
    private[2 * PAGE] = 'p';
    CHECK(ftruncate(file, PAGE + 10) == 0);
    CHECK(touch(shared + PAGE, 1) == 0 && touch(shared + 2 * PAGE, 0) == SIGBUS);
    CHECK(touch(private + 3 * PAGE, 0) == SIGBUS && touch(private + 2 * PAGE, 0) == SIGBUS);
    CHECK(shared[PAGE + 9] == 's' && shared[PAGE + 10] == 0);
    CHECK(ftruncate(file, 4 * PAGE) == 0);
    CHECK(shared[2 * PAGE] == 0 && private[2 * PAGE] == 0);
    shared[2 * PAGE] = 'n';
    char c;
    CHECK(pread(file, &c, 1, 2 * PAGE) == 1 && c == 'n');
    CHECK(munmap(shared, 4 * PAGE) == 0 && munmap(private, 4 * PAGE) == 0 && close(file) == 0);
}

static void protecting(const char *self) {
    int file = make_file("/tmp/protected", PAGE);
    CHECK(close(file) == 0 && (file = open("/tmp/protected", O_RDONLY)) >= 0);
    char *shared = map(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    CHECK(shared[0] == 0);
    CHECK(mprotect(shared, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHECK(touch(shared, 1) == SIGSEGV && munmap(shared, PAGE) == 0 && close(file) == 0);

    CHECK((file = open(self, O_RDONLY)) >= 0);
    shared = map(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    CHECK(shared[1] == 'E');
    CHECK(mprotect(shared, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    char *private = map(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
    CHECK(private[1] == 'E' && mprotect(private, PAGE, PROT_READ | PROT_WRITE) == 0);
    private[1] = 'x';
    CHECK(shared[1] == 'E' && munmap(shared, PAGE) == 0 && munmap(private, PAGE) == 0);
    close(file);
}

static void kinds(void) {
    int file = make_file("/tmp/kinds", PAGE);
    char *place = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, file, 0), c = 0;
    place[7] = 'v';
    CHECK(pread(file, &c, 1, 7) == 1 && c == 'v' && munmap(place, PAGE) == 0);
    CHECK(mmap(NULL, PAGE, PROT_READ, 0, file, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 1) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, (size_t)-1, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, PAGE * 2, PROT_READ, MAP_PRIVATE, file, -(off_t)PAGE) == MAP_FAILED &&
          errno == EOVERFLOW);
    int directory = open("/tmp", O_RDONLY), pipes[2];
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, directory, 0) == MAP_FAILED && errno == ENODEV);
    CHECK(pipe(pipes) == 0);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0) == MAP_FAILED && errno == ENODEV);
    close(file), close(directory), close(pipes[0]), close(pipes[1]);
}

static void moving(void) {
    char *place = map(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *wall =
        map(place + 2 * PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memset(place, 'm', 2 * PAGE);
    CHECK(mremap(place, 2 * PAGE, 3 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    char *moved = mremap(place, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved != place && moved[0] == 'm' && moved[2 * PAGE - 1] == 'm');
    CHECK(moved[2 * PAGE] == 0 && touch(place, 0) == SIGSEGV && touch(wall, 0) == SIGSEGV);
    CHECK(mremap(moved, 64 * PAGE, PAGE, 0) == moved && touch(moved + PAGE, 0) == SIGSEGV);
    CHECK(mremap(moved, PAGE, (size_t)-1, MREMAP_MAYMOVE) == MAP_FAILED);
    CHECK(mremap(moved + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(munmap(moved, PAGE) == 0 && munmap(wall, 2 * PAGE) == 0);
    CHECK(munmap(wall + 1, PAGE) == -1 && errno == EINVAL);
    CHECK(munmap(wall, 0) == -1 && errno == EINVAL && munmap(wall, (size_t)-1) == -1);
    CHECK(mprotect(wall, PAGE, PROT_READ) == -1 && errno == ENOMEM);
}

static void giving_up(void) {
    char *shared = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *private = map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared[0] = private[0] = 'd';
    CHECK(madvise(shared, PAGE, MADV_DONTNEED) == 0 && madvise(private, PAGE, MADV_DONTNEED) == 0);
    CHECK(shared[0] == 'd' && private[0] == 0);
    CHECK(munmap(shared, PAGE) == 0 && munmap(private, PAGE) == 0);
}

int main(int count, char **arguments) {
    (void)count;
    struct sigaction action = {.sa_handler = jump};
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    shrinking();
    protecting(arguments[0]);
    kinds();
    moving();
    giving_up();
    printf("mappings: ok\n");
    return 0;
}
