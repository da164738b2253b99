// Files as programs use them through libc, in the directory that is the first argument. Every
// check holds on Linux; the directory is on a ramfs in the guest.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../core/check.h"

#define FAILS(call, error) CHECK((errno = 0, (call) < 0) && errno == (error))

static char *volatile nowhere = (char *)8; // volatile: the compiler must not see through it

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_errors(void) {
    char name[NAME_MAX + 2], path[PATH_MAX + 1];
    memset(name, 'n', sizeof(name));
    name[NAME_MAX + 1] = 0;
    FAILS(mkdir(name, 0755), ENAMETOOLONG);
    name[NAME_MAX] = 0;
    CHECK(mkdir(name, 0755) == 0 && rmdir(name) == 0);
    memset(path, '/', sizeof(path));
    path[PATH_MAX] = 0;
    FAILS(open(path, O_RDONLY), ENAMETOOLONG);
    FAILS(open("", O_RDONLY), ENOENT);
    FAILS(open("none/x", O_RDONLY), ENOENT);
    FAILS(open(".", O_WRONLY), EISDIR);
    FAILS(open(nowhere, O_RDONLY), EFAULT);
    write_file("f", "text");
    FAILS(open("f/x", O_RDONLY), ENOTDIR);
    FAILS(open("f", O_CREAT | O_EXCL | O_RDWR, 0644), EEXIST);
    FAILS(open("f", O_DIRECTORY), ENOTDIR);
    FAILS(rmdir("f"), ENOTDIR);
    FAILS(unlink("."), EISDIR);
    FAILS(rmdir("."), EINVAL);
    FAILS(mkdir("f", 0755), EEXIST);
    CHECK(symlink("l2", "l1") == 0 && symlink("l1", "l2") == 0);
    FAILS(open("l1", O_RDONLY), ELOOP);
    FAILS(open("l1", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(unlink("l1") == 0 && unlink("l2") == 0);
    FAILS(rename("none", "x"), ENOENT);
    FAILS(lseek(0x7000, 0, SEEK_SET), EBADF);
    FAILS(truncate("f", -1), EINVAL);
    FAILS(readlink("f", path, 10), EINVAL);
    int fd = open("f", O_RDONLY);
    FAILS(write(fd, "x", 1), EBADF);
    FAILS(read(fd, nowhere, 4), EFAULT);
    FAILS(ftruncate(fd, 0), EINVAL);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK(close(fd) == 0 && unlink("f") == 0);
    FAILS(close(fd), EBADF);
}

static void test_tree(void) {
    char name[64], cwd[PATH_MAX];
    CHECK(mkdir("tree", 0755) == 0 && chdir("tree") == 0);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "entry%03d", i);
        write_file(name, name);
    }
    DIR *directory = opendir(".");
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_type == DT_REG;
    CHECK(count == 500);
    rewinddir(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        CHECK(entry->d_name[0] == '.' || unlink(entry->d_name) == 0);
    closedir(directory);
    CHECK(mkdir("a", 0755) == 0 && mkdir("a/b", 0700) == 0);
    write_file("a/b/c", "deep");
    FAILS(rename("a", "a/b/d"), EINVAL);
    FAILS(rmdir("a"), ENOTEMPTY);
    CHECK(rename("a/b", "moved") == 0);
    struct stat s;
    CHECK(stat("moved/../moved/./c", &s) == 0 && s.st_size == 4 && S_ISREG(s.st_mode));
    CHECK(symlink("moved", "link") == 0 && lstat("link", &s) == 0 && S_ISLNK(s.st_mode));
    CHECK(realpath("link/c", cwd) != NULL && strstr(cwd, "/tree/moved/c") != NULL);
    CHECK(link("moved/c", "hard") == 0 && stat("hard", &s) == 0 && s.st_nlink == 2);
    CHECK(unlink("moved/c") == 0 && unlink("hard") == 0 && unlink("link") == 0);
    CHECK(rmdir("moved") == 0 && rmdir("a") == 0 && chdir("..") == 0 && rmdir("tree") == 0);
    CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
}

static void test_contents(void) {
    int fd = open("data", O_CREAT | O_RDWR | O_TRUNC, 0640), copy;
    char buffer[32] = {0};
    CHECK(fd >= 0 && pwrite(fd, "tail", 4, 100000) == 4);
    CHECK(pread(fd, buffer, 10, 99996) == 8 && memcmp(buffer, "\0\0\0\0tail", 8) == 0);
    struct iovec vector[] = {{"abc", 3}, {"defg", 4}};
    CHECK(writev(fd, vector, 2) == 7 && lseek(fd, 0, SEEK_CUR) == 7);
    char *map = mmap(NULL, 100004, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && memcmp(map, "abcdefg", 7) == 0);
    memcpy(map + 50000, "shared", 6);
    CHECK(pread(fd, buffer, 6, 50000) == 6 && memcmp(buffer, "shared", 6) == 0);
    CHECK(pwrite(fd, "ABC", 3, 0) == 3 && memcmp(map, "ABCdefg", 7) == 0);
    CHECK(munmap(map, 100004) == 0);
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    map[0] = 'x';
    CHECK(pread(fd, buffer, 1, 0) == 1 && buffer[0] == 'A' && munmap(map, 4096) == 0);
    CHECK(ftruncate(fd, 3) == 0 && ftruncate(fd, 10) == 0 && pread(fd, buffer, 20, 0) == 10);
    CHECK(memcmp(buffer, "ABC\0\0\0\0\0\0\0", 10) == 0);
    copy = open("copy", O_CREAT | O_RDWR, 0640);
    off_t offset = 1;
    CHECK(sendfile(copy, fd, &offset, 100) == 9 && offset == 10);
    CHECK(fcntl(copy, F_SETFL, O_APPEND) == 0 && lseek(copy, 0, SEEK_SET) == 0);
    FAILS(sendfile(copy, fd, &offset, 100), EINVAL);
    CHECK(write(copy, "!", 1) == 1 && lseek(copy, 0, SEEK_END) == 10);
    CHECK(posix_fallocate(fd, 0, 20000) == 0);
    struct stat s;
    CHECK(fstat(fd, &s) == 0 && s.st_size == 20000 && (s.st_mode & 0777) == 0640);
    struct timespec times[2] = {{1000, 5}, {2000, 6}};
    CHECK(futimens(fd, times) == 0 && fstat(fd, &s) == 0);
    CHECK(s.st_atim.tv_sec == 1000 && s.st_mtim.tv_nsec == 6);
    CHECK(fchmod(fd, 0400) == 0 && fstat(fd, &s) == 0 && (s.st_mode & 0777) == 0400);
    struct statvfs fs;
    CHECK(statvfs(".", &fs) == 0 && fs.f_namemax == 255);
    CHECK(unlink("data") == 0 && pread(fd, buffer, 3, 0) == 3);
    CHECK(close(fd) == 0 && close(copy) == 0 && unlink("copy") == 0);
    FILE *temporary = tmpfile();
    CHECK(temporary != NULL && fputs("temporary", temporary) >= 0 && fclose(temporary) == 0);
}

static void test_descriptors(void) {
    int fd = open("/dev/null", O_RDWR), other = dup2(fd, 200);
    CHECK(other == 200 && fcntl(other, F_GETFD) == 0 && fcntl(fd, F_DUPFD_CLOEXEC, 300) == 300);
    CHECK(fcntl(300, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    CHECK(close(300) == 0 && close(200) == 0 && dup(fd) == fd + 1 && close(fd + 1) == 0);
    FAILS(dup2(fd, 1 << 20), EBADF);
    int memory = memfd_create("m", 0);
    CHECK(memory >= 0 && write(memory, "memory", 6) == 6);
    char path[64], text[8] = {0};
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    int again = open(path, O_RDONLY);
    CHECK(again >= 0 && read(again, text, 8) == 6 && strcmp(text, "memory") == 0);
    CHECK(close(again) == 0 && close(memory) == 0 && close(fd) == 0);
}

static void test_random(void) {
    unsigned char bytes[256] = {0};
    CHECK(getentropy(bytes, sizeof(bytes)) == 0);
    unsigned different = 0;
    for (int i = 1; i < 256; i++)
        different += bytes[i] != bytes[i - 1];
    CHECK(different > 200);
}

static void test_attributes(const char *directory) {
    char value[10];
    CHECK(getxattr(directory, "user.x", value, sizeof(value)) == -1);
    CHECK(errno == EOPNOTSUPP || errno == ENODATA);
    CHECK(lgetxattr("/nowhere", "user.x", value, sizeof(value)) == -1 && errno == ENOENT);
    CHECK(fgetxattr(99, "user.x", value, sizeof(value)) == -1 && errno == EBADF);
    CHECK(listxattr(directory, value, sizeof(value)) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 2 && chdir(arguments[1]) == 0);
    test_errors();
    test_tree();
    test_contents();
    test_descriptors();
    test_random();
    test_attributes(arguments[1]);
    puts("names: ok");
    return 0;
}
