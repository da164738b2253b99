// The stream that cpiod unpacks. The input is the stream, whose pieces are of odd sizes.
//
// Whatever comes, nothing outside of the prefix changes, and no file is left half done.

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unpack.h"

static char outside[] = "/tmp/archive-fuzz-XXXXXX", prefix[64];
static int stream;

// The linker puts these in between: a disk need not be waited for.
int __wrap_syncfs(int file);
int __wrap_syncfs(int file) {
    (void)file;
    return 0;
}
ssize_t __real_read(int file, void *buffer, size_t size);
ssize_t __wrap_read(int file, void *buffer, size_t size);
ssize_t __wrap_read(int file, void *buffer, size_t size) {
    return __real_read(file, buffer, file == stream && size > 97 ? 97 : size);
}

// Takes over the directory.
static void remove_below(int directory) {
    DIR *list = fdopendir(directory);
    struct dirent *found;
    must(list != NULL);
    while ((found = readdir(list)) != NULL) {
        const char *name = found->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        must(strcmp(name, ".cpiod.part") != 0);
        if (unlinkat(directory, name, 0) == 0)
            continue;
        must(fchmodat(directory, name, 0700, 0) == 0);
        remove_below(openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        must(unlinkat(directory, name, AT_REMOVEDIR) == 0);
    }
    closedir(list);
}

static void finish(void) {
    rmdir(outside);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const struct rlimit largest = {16 << 20, 16 << 20};
    (void)argc, (void)argv;
    must(mkdtemp(outside) != NULL);
    atexit(finish);
    snprintf(prefix, sizeof(prefix), "%s/prefix", outside);
    stream = memfd_create("stream", MFD_CLOEXEC);
    must(stream >= 0);
    signal(SIGXFSZ, SIG_IGN);
    must(setrlimit(RLIMIT_FSIZE, &largest) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct input input;
    static struct entry entry;
    const struct unpack_how how = {.prefix = prefix, .keep_times = size % 2};
    struct complaint complaint = {0};
    must(mkdir(prefix, 0700) == 0);
    must(ftruncate(stream, 0) == 0 && lseek(stream, 0, SEEK_SET) == 0);
    must(write(stream, data, size) == (ssize_t)size && lseek(stream, 0, SEEK_SET) == 0);
    input = (struct input){.descriptor = stream};
    must(unpack(&input, &how, &entry, &complaint) == 0 || complaint.what != NULL);
    must(memchr(entry.name, 0, sizeof(entry.name)) != NULL);
    must(chmod(prefix, 0700) == 0);
    remove_below(open(prefix, O_RDONLY | O_DIRECTORY));
    must(rmdir(prefix) == 0);
    must(rmdir(outside) == 0 && mkdir(outside, 0700) == 0); // so nothing else was in it
    return 0;
}
