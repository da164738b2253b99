// Makes a pool on a disk, and mounts it, as OSv's program of this name does (tools/mkfs): pool osv
// on /dev/vblk0.1. Its only dataset is the root; OSv's has a second, osv/zfs. On a file of the host
// it makes the same pool.
//
// The pool is written by the same code that the kernel's ZFS module has (../zfs/format.c); here it
// writes through a file.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../zfs/zfs.h"

enum { COMPRESSION_OFF = 2, COMPRESSION_LZ4 = 15 };

struct settings {
    const char *device, *mount;
    struct zfs_format format;
};

static const char usage[] = "mkfs: makes a ZFS pool: mkfs.so [options] [DEVICE]\n"
                            "  DEVICE             a disk or a file (/dev/vblk0.1)\n"
                            "  --pool=NAME        what it is called (osv)\n"
                            "  --compression=HOW  lz4 or off (lz4)\n"
                            "  --ashift=N         its blocks have 2^N bytes at least, 9 or 12 (9)\n"
                            "  --mount=PATH       mount it there, nowhere if empty (/zfs)\n"
                            "  --help             show this text\n";

// --- What the pool's code needs around it ---

static void *allocate(size_t size) {
    return calloc(1, size);
}

static void release(void *memory, size_t size) {
    (void)size;
    free(memory);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void random_bytes(void *out, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom((char *)out + done, size - done, 0);
        if (got < 0 && errno != EINTR)
            abort(); // a pool whose guid is not random may be taken for another
        done += got > 0 ? (size_t)got : 0;
    }
}

static void say(const char *message) {
    printf("mkfs: %s\n", message);
}

static const struct zfs_services services = {
    .allocate = allocate, .free = release, .now = now, .random = random_bytes, .say = say};

struct file_disk {
    struct zfs_disk disk;
    int descriptor;
};

static int disk_read(struct zfs_disk *disk, uint64_t offset, void *buffer, size_t size) {
    const struct file_disk *file = (const struct file_disk *)disk;
    for (size_t done = 0; done < size;) {
        ssize_t got =
            pread(file->descriptor, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got == 0) // the end, whatever errno says
            return -EIO;
        if (got < 0 && errno != EINTR)
            return -errno;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int disk_write(struct zfs_disk *disk, uint64_t offset, const void *data, size_t size) {
    const struct file_disk *file = (const struct file_disk *)disk;
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(file->descriptor, (const char *)data + done, size - done,
                             (off_t)(offset + done));
        if (put < 0 && errno != EINTR)
            return -errno;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

static int disk_flush(struct zfs_disk *disk) {
    return fsync(((const struct file_disk *)disk)->descriptor) < 0 ? -errno : 0;
}

// --- The program ---

static const char *value_of(const char *option, const char *name) {
    size_t length = strlen(name);
    return strncmp(option, name, length) == 0 && option[length] == '=' ? option + length + 1 : NULL;
}

static bool take(struct settings *to, const char *option) {
    const char *value;
    if ((value = value_of(option, "--pool")) != NULL)
        return *(to->format.name = value) != '\0';
    if ((value = value_of(option, "--mount")) != NULL)
        return to->mount = value, true;
    if ((value = value_of(option, "--ashift")) != NULL) {
        to->format.ashift = strcmp(value, "12") == 0 ? 12 : 9;
        return strcmp(value, "12") == 0 || strcmp(value, "9") == 0;
    }
    if ((value = value_of(option, "--compression")) != NULL) {
        bool lz4 = strcmp(value, "lz4") == 0;
        to->format.compression = lz4 ? COMPRESSION_LZ4 : COMPRESSION_OFF;
        return lz4 || strcmp(value, "off") == 0;
    }
    return *option != '-' && *(to->device = option) != '\0';
}

static int failed(const char *what, const char *which, int error) {
    printf("mkfs: cannot %s %s: %s\n", what, which, strerror(error));
    return 1;
}

static int format(const struct settings *settings) {
    struct file_disk file = {
        .disk = {
            .read = disk_read, .write = disk_write, .flush = disk_flush, .path = settings->device}};
    file.descriptor = open(settings->device, O_RDWR | O_CLOEXEC);
    if (file.descriptor < 0)
        return failed("open", settings->device, errno);
    off_t size = lseek(file.descriptor, 0, SEEK_END);
    int status = size < 0 ? -errno : 0;
    if (status == 0) {
        file.disk.size = (uint64_t)size;
        status = zfs_format(&file.disk, &settings->format);
    }
    if (close(file.descriptor) < 0 && status == 0)
        status = -errno;
    return status < 0 ? failed("format", settings->device, -status) : 0;
}

static int mount_it(const struct settings *settings) {
    if (mkdir(settings->mount, 0755) < 0 && errno != EEXIST)
        return failed("make", settings->mount, errno);
    if (mount(settings->device, settings->mount, "zfs", 0, settings->format.name) < 0)
        return failed("mount", settings->mount, errno);
    return 0;
}

__attribute__((visibility("default"))) int main(int argc, char **argv) {
    struct settings settings = {
        .device = "/dev/vblk0.1", .mount = "/zfs", .format = {"osv", 9, COMPRESSION_LZ4}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return fputs(usage, stdout), 0;
        if (!take(&settings, argv[i])) {
            printf("mkfs: %s: not a usable option\n%s", argv[i], usage);
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    puts("Running mkfs...");
    zfs_services = &services;
    int status = format(&settings);
    return status == 0 && *settings.mount != '\0' ? mount_it(&settings) : status;
}
