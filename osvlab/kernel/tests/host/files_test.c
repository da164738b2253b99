// The file layer as a host program: what Linux promises about names, descriptors and contents.

#include "files_shim.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "syscalls_files.h"
#include "runtime.h"

#define CHECK(actual, expected)                                                                  \
    do {                                                                                         \
        long actual_ = (long)(actual), expected_ = (long)(expected);                             \
        if (actual_ != expected_) {                                                              \
            fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #actual, actual_, \
                    expected_);                                                                  \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

static int open_new(const char *name) {
    long fd = sys_open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
    assert(fd >= 0);
    return (int)fd;
}

static void make(const char *name, const char *text) {
    int fd = open_new(name);
    CHECK(sys_write(fd, text, strlen(text)), strlen(text));
    CHECK(sys_close(fd), 0);
}

static struct stat stat_of(const char *name) {
    struct stat s;
    CHECK(sys_lstat(name, &s), 0);
    return s;
}

static void test_open(void) {
    CHECK(sys_open("/none", O_RDONLY, 0), -ENOENT);
    CHECK(sys_open("", O_RDONLY, 0), -ENOENT);
    CHECK(sys_open(NULL, O_RDONLY, 0), -EFAULT);
    CHECK(sys_open("/none/x", O_CREAT | O_RDWR, 0), -ENOENT);
    CHECK(sys_open("/dev", O_RDWR, 0), -EISDIR);
    CHECK(sys_open("/dev", O_CREAT | O_RDONLY, 0), -EISDIR);
    CHECK(sys_open("/new/", O_CREAT | O_RDWR, 0), -EISDIR);
    make("/file", "hello");
    CHECK(sys_open("/file/", O_RDONLY, 0), -ENOTDIR);
    CHECK(sys_open("/file/x", O_RDONLY, 0), -ENOTDIR);
    CHECK(sys_open("/file", O_DIRECTORY, 0), -ENOTDIR);
    CHECK(sys_open("/file", O_CREAT | O_EXCL | O_RDWR, 0), -EEXIST);
    CHECK(sys_symlink("file", "/link"), 0);
    CHECK(sys_open("/link", O_NOFOLLOW, 0), -ELOOP);
    CHECK(sys_open("/link", O_NOFOLLOW | O_DIRECTORY, 0), -ENOTDIR);
    CHECK(sys_open("/link", O_CREAT | O_EXCL | O_RDWR, 0), -EEXIST);
    CHECK(sys_symlink("made", "/dangling"), 0);
    CHECK(sys_open("/dangling", O_RDONLY, 0), -ENOENT);
    int fd = (int)sys_open("/dangling", O_CREAT | O_WRONLY, 0600);
    assert(fd >= 0);
    CHECK(stat_of("/made").st_mode, S_IFREG | 0600);
    char c;
    CHECK(sys_read(fd, &c, 1), -EBADF);
    CHECK(sys_close(fd), 0);
    CHECK(sys_close(fd), -EBADF);
    CHECK(sys_read(fd, &c, 1), -EBADF);
    fd = (int)sys_open("/link", O_RDONLY | O_TRUNC, 0); // as Linux: truncates
    CHECK(stat_of("/file").st_size, 0);
    CHECK(sys_write(fd, "x", 1), -EBADF);
    CHECK(sys_close(fd), 0);
    fd = (int)sys_open("/link", O_PATH | O_NOFOLLOW, 0);
    struct stat s;
    CHECK(sys_fstat(fd, &s), 0);
    assert(S_ISLNK(s.st_mode));
    CHECK(sys_read(fd, &c, 1), -EBADF);
    char target[16];
    CHECK(sys_readlinkat(fd, "", target, sizeof(target)), 4);
    CHECK(sys_close(fd), 0);
    CHECK(sys_unlink("/made") | sys_unlink("/dangling") | sys_unlink("/link") | sys_unlink("/file"),
          0);
}

static void test_names(void) {
    char name[300];
    memset(name, 'n', sizeof(name));
    name[0] = '/';
    name[256] = '\0';
    make(name, "255 bytes are a name");
    CHECK(sys_unlink(name), 0);
    name[256] = 'n';
    name[257] = '\0';
    CHECK(sys_open(name, O_CREAT | O_RDWR, 0644), -ENAMETOOLONG);
    CHECK(sys_mkdir(name, 0755), -ENAMETOOLONG);
    static char path[PATH_MAX + 1];
    memset(path, '/', PATH_MAX);
    CHECK(sys_open(path, O_RDONLY, 0), -ENAMETOOLONG);
    path[PATH_MAX - 1] = '\0';
    int fd = (int)sys_open(path, O_RDONLY, 0); // 4095 slashes are the root
    assert(fd >= 0);
    CHECK(sys_close(fd), 0);

    CHECK(sys_mkdir("/a", 0755), 0);
    CHECK(sys_mkdir("/a", 0755), -EEXIST);
    CHECK(sys_mkdir("/", 0755), -EEXIST);
    CHECK(sys_mkdir("/a/.", 0755), -EEXIST);
    CHECK(sys_mkdir("/a/b/", 0755), 0);
    CHECK(sys_mkdir("/x/y", 0755), -ENOENT);
    make("/a/f", "f");
    CHECK(sys_mkdir("/a/f/g", 0755), -ENOTDIR);
    CHECK(stat_of("/a").st_nlink, 3);
    CHECK(sys_rmdir("/a"), -ENOTEMPTY);
    CHECK(sys_rmdir("/a/."), -EINVAL);
    CHECK(sys_rmdir("/a/b/.."), -ENOTEMPTY);
    CHECK(sys_rmdir("/a/f"), -ENOTDIR);
    CHECK(sys_rmdir("/"), -EBUSY);
    CHECK(sys_rmdir("/dev"), -EBUSY);
    CHECK(sys_unlink("/a/b"), -EISDIR);
    CHECK(sys_unlink("/a/f/"), -ENOTDIR);
    CHECK(sys_unlink("/a/none"), -ENOENT);
    CHECK(sys_unlink("/"), -EISDIR);
    struct stat one, two;
    CHECK(sys_stat("/a/../a/./b/..//b/", &one), 0);
    CHECK(sys_stat("/../../a/b", &two), 0);
    CHECK(one.st_ino, two.st_ino);
    CHECK(sys_stat("/a/f/../f", &one), -ENOTDIR);
    CHECK(sys_rmdir("/a/b/"), 0);
    CHECK(sys_unlink("/a/f"), 0);
    CHECK(sys_rmdir("/a"), 0);
}

static void test_links(void) {
    CHECK(sys_symlink("/loop2", "/loop1"), 0);
    CHECK(sys_symlink("loop1", "/loop2"), 0);
    struct stat s;
    CHECK(sys_stat("/loop1", &s), -ELOOP);
    CHECK(sys_lstat("/loop1", &s), 0);
    CHECK(sys_lstat("/loop1/", &s), -ELOOP);
    CHECK(sys_open("/loop1", O_CREAT | O_RDWR, 0644), -ELOOP);
    CHECK(sys_symlink("x", "/loop1"), -EEXIST);
    CHECK(sys_symlink("", "/empty"), -ENOENT);
    CHECK(sys_unlink("/loop1"), 0);
    CHECK(sys_unlink("/loop2"), 0);

    // Forty links in a row are allowed, one more is not.
    char name[32], target[32];
    make("/c0", "end");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof(name), "/c%d", i);
        snprintf(target, sizeof(target), "c%d", i - 1);
        CHECK(sys_symlink(target, name), 0);
    }
    CHECK(sys_stat("/c40", &s), 0);
    CHECK(s.st_size, 3);
    CHECK(sys_stat("/c41", &s), -ELOOP);
    for (int i = 0; i <= 41; i++) {
        snprintf(name, sizeof(name), "/c%d", i);
        CHECK(sys_unlink(name), 0);
    }

    CHECK(sys_mkdir("/d", 0755), 0);
    make("/d/f", "text");
    CHECK(sys_symlink("d", "/l"), 0);
    CHECK(sys_lstat("/l/", &s), 0);
    assert(S_ISDIR(s.st_mode));
    CHECK(sys_rmdir("/l/"), -ENOTDIR);
    CHECK(sys_stat("/l/f", &s), 0);
    char out[16];
    CHECK(sys_readlink("/l", out, sizeof(out)), 1);
    CHECK(sys_readlink("/d", out, sizeof(out)), -EINVAL);
    CHECK(sys_readlink("/l", out, 0), -EINVAL);
    CHECK(sys_symlink("/", "/root"), 0);
    CHECK(sys_stat("/root/d/f", &s), 0);
    CHECK(sys_stat("/root/", &s), 0);
    CHECK(sys_link("/d/f", "/hard"), 0);
    CHECK(stat_of("/hard").st_nlink, 2);
    CHECK(sys_link("/d", "/hard2"), -EPERM);
    CHECK(sys_link("/d/f", "/hard"), -EEXIST);
    CHECK(sys_link("/d/f", "/dev/hard"), -EXDEV);
    CHECK(sys_unlink("/d/f"), 0);
    CHECK(stat_of("/hard").st_nlink, 1);
    CHECK(sys_unlink("/hard") | sys_rmdir("/d") | sys_unlink("/l") | sys_unlink("/root"), 0);
}

static void test_rename(void) {
    CHECK(sys_mkdir("/p", 0755) | sys_mkdir("/q", 0755) | sys_mkdir("/p/in", 0755), 0);
    make("/f", "1");
    make("/g", "22");
    CHECK(sys_rename("/f", "/g"), 0);
    CHECK(stat_of("/g").st_size, 1);
    CHECK(sys_rename("/f", "/g"), -ENOENT);
    CHECK(sys_rename("/g", "/p"), -EISDIR);
    CHECK(sys_rename("/p", "/g"), -ENOTDIR);
    CHECK(sys_rename("/g/", "/h"), -ENOTDIR);
    CHECK(sys_rename("/p", "/p/in/deeper"), -EINVAL);
    CHECK(sys_rename("/p/in", "/p"), -ENOTEMPTY);
    CHECK(sys_rename("/q", "/p"), -ENOTEMPTY);
    CHECK(sys_rename("/p", "/q"), 0);
    CHECK(sys_rename("/q/in", "/in/"), 0);
    CHECK(stat_of("/q").st_nlink, 2);
    CHECK(sys_rename("/q/.", "/z"), -EBUSY);
    CHECK(sys_rename("/g", "/dev/g"), -EXDEV);
    CHECK(sys_rename("/g", "/g"), 0);
    CHECK(sys_rename("/dev", "/dev2"), -EBUSY);
    make("/h", "333");
    CHECK(sys_renameat2(AT_FDCWD, "/g", AT_FDCWD, "/h", 1), -EEXIST);
    CHECK(sys_renameat2(AT_FDCWD, "/g", AT_FDCWD, "/h", 2), 0);
    CHECK(stat_of("/g").st_size, 3);
    CHECK(sys_renameat2(AT_FDCWD, "/g", AT_FDCWD, "/q", 2), 0);
    assert(S_ISDIR(stat_of("/g").st_mode));
    char cwd[64];
    CHECK(sys_chdir("/g"), 0);
    CHECK(sys_rename("/g", "/in/moved"), 0);
    CHECK(sys_getcwd(cwd, sizeof(cwd)), 10);
    assert(strcmp(cwd, "/in/moved") == 0);
    CHECK(sys_getcwd(cwd, 9), -ERANGE);
    CHECK(sys_rmdir("/in/moved"), 0);
    CHECK(sys_getcwd(cwd, sizeof(cwd)), -ENOENT);
    CHECK(sys_open("x", O_CREAT | O_RDWR, 0644), -ENOENT);
    CHECK(sys_chdir("/"), 0);
    CHECK(sys_unlink("/q") | sys_unlink("/h") | sys_rmdir("/in"), 0);
}

static void test_contents(void) {
    int fd = open_new("/data");
    char buffer[64] = {0};
    CHECK(sys_pwrite64(fd, "end", 3, 10000), 3);
    CHECK(sys_lseek(fd, 0, SEEK_END), 10003);
    CHECK(sys_lseek(fd, -20000, SEEK_CUR), -EINVAL);
    CHECK(sys_lseek(fd, 0, 9), -EINVAL);
    CHECK(sys_pread64(fd, buffer, 10, 9995), 8);
    assert(memcmp(buffer, "\0\0\0\0\0end", 8) == 0);
    CHECK(sys_pread64(fd, buffer, 10, 10003), 0);
    CHECK(sys_pread64(fd, buffer, 10, -1), -EINVAL);
    CHECK(sys_pread64(fd, NULL, 10, 0), -EFAULT);
    CHECK(sys_write(fd, NULL, 3), -EFAULT);
    CHECK(stat_of("/data").st_size, 10003);
    CHECK(stat_of("/data").st_blocks, 8); // one page; what lies before it is a hole
    CHECK(sys_ftruncate(fd, 10001), 0);
    CHECK(sys_ftruncate(fd, 10003), 0);
    CHECK(sys_pread64(fd, buffer, 10, 10000), 3);
    assert(memcmp(buffer, "e\0\0", 3) == 0);
    CHECK(sys_ftruncate(fd, -1), -EINVAL);
    CHECK(sys_ftruncate(fd, INT64_MAX), -EFBIG);
    CHECK(sys_lseek(fd, 0, SEEK_SET), 0);
    struct iovec vector[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}};
    CHECK(sys_writev(fd, vector, 3), 7);
    CHECK(sys_writev(fd, vector, -1), -EINVAL);
    CHECK(sys_pread64(fd, buffer, 7, 0), 7);
    assert(memcmp(buffer, "abcdefg", 7) == 0);
    int append = (int)sys_open("/data", O_WRONLY | O_APPEND, 0);
    CHECK(sys_write(append, "tail", 4), 4);
    CHECK(sys_lseek(append, 0, SEEK_CUR), 10007);
    CHECK(sys_fcntl(append, F_GETFL, 0), O_WRONLY | O_APPEND | 0100000);
    CHECK(sys_fallocate(fd, 3, 0, 4096), 0); // punch a hole
    CHECK(sys_pread64(fd, buffer, 7, 0), 7);
    assert(memcmp(buffer, "\0\0\0\0\0\0\0", 7) == 0);
    CHECK(sys_fallocate(fd, 0, 0, 50000), 0);
    CHECK(stat_of("/data").st_size, 50000);
    int error;
    struct file *file = file_of(fd);
    struct page *page = vnode_page(file_vnode(file), 2, true, &error);
    assert(page != NULL && memcmp((char *)page_address(page) + 10003 - 8192, "tail", 4) == 0);
    memcpy((char *)page_address(page) + 10003 - 8192, "TAIL", 4); // as a shared mapping does
    page_put(page);
    CHECK((long)vnode_page(file_vnode(file), 13, true, &error), 0);
    CHECK(error, 0);
    file_put(file);
    CHECK(sys_pread64(fd, buffer, 4, 10003), 4);
    assert(memcmp(buffer, "TAIL", 4) == 0);
    CHECK(sys_unlink("/data"), 0); // open files outlive their names
    CHECK(sys_pread64(append, buffer, 4, 0), -EBADF);
    CHECK(sys_pread64(fd, buffer, 4, 10003), 4);
    CHECK(sys_close(fd) | sys_close(append), 0);
}

static void test_directories(void) {
    CHECK(sys_mkdir("/many", 0755), 0);
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "/many/file%d", i);
        make(name, "");
    }
    int fd = (int)sys_open("/many", O_RDONLY | O_DIRECTORY, 0), count = 0;
    static char buffer[700];
    CHECK(sys_getdents64(fd, buffer, 10), -EINVAL);
    CHECK(sys_read(fd, buffer, 10), -EISDIR);
    long size;
    while ((size = sys_getdents64(fd, buffer, sizeof(buffer))) > 0) {
        for (long at = 0; at < size; at += *(u16 *)(buffer + at + 16), count++) {
            const char *entry = buffer + at + 19;
            if (*entry != '.') { // removing while listing is what rm -r does
                snprintf(name, sizeof(name), "/many/%s", entry);
                CHECK(sys_unlink(name), 0);
            }
        }
    }
    CHECK(size, 0);
    CHECK(count, 1002);
    CHECK(sys_lseek(fd, 0, SEEK_SET), 0);
    CHECK(sys_getdents64(fd, buffer, sizeof(buffer)), 48);
    CHECK(sys_rmdir("/many"), 0);
    CHECK(sys_lseek(fd, 0, SEEK_SET), 0);
    CHECK(sys_close(fd), 0);
}

static void test_descriptors(void) {
    int fd = open_new("/d");
    CHECK(sys_dup2(fd, 100), 100);
    CHECK(sys_dup3(fd, fd, 0), -EINVAL);
    CHECK(sys_dup2(fd, fd), fd);
    CHECK(sys_dup2(fd, 1024), -EBADF);
    CHECK(sys_dup2(999, 5), -EBADF);
    CHECK(sys_fcntl(fd, F_DUPFD, 500), 500);
    CHECK(sys_fcntl(fd, F_DUPFD, 1024), -EINVAL);
    CHECK(sys_fcntl(100, F_GETFD, 0), 0);
    CHECK(sys_fcntl(100, F_SETFD, FD_CLOEXEC), 0);
    CHECK(sys_fcntl(100, F_GETFD, 0), FD_CLOEXEC);
    struct files *clone = files_clone(shim_process.files);
    files_destroy(clone);
    files_close_on_exec(shim_process.files);
    CHECK(sys_fcntl(100, F_GETFD, 0), -EBADF);
    CHECK(sys_close(500), 0);
    long last = 0, opened = 0;
    while ((last = sys_dup(fd)) >= 0)
        opened++;
    CHECK(last, -EMFILE);
    CHECK(opened, 1024 - 4);
    CHECK(sys_close_range(fd + 1, ~0U, 0), 0);
    CHECK(sys_dup(fd), fd + 1);
    CHECK(sys_close(fd + 1), 0);
    CHECK(sys_close_range(5, 4, 0), -EINVAL);
    u64 soft, hard;
    files_limits(shim_process.files, &soft, &hard);
    CHECK(files_set_limits(shim_process.files, 16385, 16385), -EPERM);
    CHECK(files_set_limits(shim_process.files, 16384, 16384), 0);
    CHECK(sys_dup2(fd, 16383), 16383);
    CHECK(sys_close(16383), 0);
    CHECK(files_set_limits(shim_process.files, soft, hard), 0);
    CHECK(sys_close(fd), 0);
    CHECK(sys_unlink("/d"), 0);
}

static void test_devices(void) {
    char buffer[32];
    int fd = (int)sys_open("/dev/null", O_RDWR, 0);
    CHECK(sys_read(fd, buffer, 8), 0);
    CHECK(sys_write(fd, buffer, 8), 8);
    CHECK(sys_ioctl(fd, TCGETS, (u64)(uintptr_t)buffer), -ENOTTY);
    CHECK(sys_close(fd), 0);
    fd = (int)sys_open("/dev/zero", O_RDWR, 0);
    CHECK(sys_read(fd, buffer, 8), 8);
    CHECK(sys_close(fd), 0);
    fd = (int)sys_open("/dev/full", O_RDWR, 0);
    CHECK(sys_write(fd, buffer, 8), -ENOSPC);
    CHECK(sys_close(fd), 0);
    u8 one[32] = {0}, two[32] = {0};
    CHECK(sys_getrandom(one, sizeof(one), 0), sizeof(one));
    CHECK(sys_getrandom(two, sizeof(two), 0), sizeof(two));
    assert(memcmp(one, two, sizeof(one)) != 0);
    CHECK(sys_mknod("/null", S_IFCHR | 0666, makedev(1, 3)), 0);
    fd = (int)sys_open("/null", O_WRONLY, 0);
    CHECK(sys_write(fd, "x", 1), 1);
    CHECK(sys_close(fd) | sys_unlink("/null"), 0);
    CHECK(sys_mknod("/odd", S_IFCHR | 0666, makedev(99, 3)), 0);
    CHECK(sys_open("/odd", O_RDONLY, 0), -ENXIO);
    CHECK(sys_unlink("/odd"), 0);
}

static void type(const char *text, const char *expected) {
    char buffer[128] = {0};
    shim_type(text);
    CHECK(sys_read(0, buffer, sizeof(buffer) - 1), strlen(expected));
    assert(strcmp(buffer, expected) == 0);
}

static void test_terminal(void) {
    CHECK(sys_write(1, "hello\n", 6), 6);
    assert(memcmp(shim_console, "hello\n", 6) == 0);
    shim_console_size = 0;
    type("hello\r", "hello\n");
    type("helpx\177\177lo\r", "hello\n");
    type("all wrong\025right\r", "right\n");
    type("two words\027three\r", "two three\n");
    type("\004", "");
    type("part\004", "part");
    char two[3] = {0};
    shim_type("abcd\r");
    CHECK(sys_read(0, two, 2), 2);
    type("", "cd\n");
    shim_console_size = 0;
    type("ab\177c\r", "ac\n");
    assert(memcmp(shim_console, "ab\b \bc\n", 7) == 0);
    struct winsize window;
    CHECK(sys_ioctl(0, TIOCGWINSZ, (u64)(uintptr_t)&window), 0);
    CHECK(window.ws_col, 80);
    u32 termios[16];
    CHECK(sys_ioctl(0, TCGETS, (u64)(uintptr_t)termios), 0);
    u32 raw[16];
    memcpy(raw, termios, sizeof(raw));
    raw[3] &= ~(u32)(ICANON | ECHO | ISIG);
    CHECK(sys_ioctl(0, TCSETS, (u64)(uintptr_t)raw), 0);
    type("\003", "\003");
    CHECK(sys_ioctl(0, TCSETS, (u64)(uintptr_t)termios), 0);
    shim_type("lost\003");
    while (__atomic_load_n(&shim_signal, __ATOMIC_ACQUIRE) != 2)
        ;
    shim_signal = 0;
    type("kept\r", "kept\n");
    CHECK(sys_lseek(0, 0, SEEK_SET), -ESPIPE);
    CHECK(sys_fcntl(0, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    CHECK(sys_read(0, two, 1), -EAGAIN);
    CHECK(sys_fcntl(0, F_SETFL, O_RDWR), 0);
}

static void test_attributes(void) {
    make("/t", "12345");
    CHECK(sys_chmod("/t", 04711), 0);
    CHECK(stat_of("/t").st_mode, S_IFREG | 04711);
    CHECK(sys_chown("/t", 7, 8), 0);
    CHECK(sys_lchown("/t", ~0U, 9), 0);
    CHECK(stat_of("/t").st_uid * 100 + stat_of("/t").st_gid, 709);
    CHECK(sys_access("/t", R_OK | W_OK | X_OK), 0);
    CHECK(sys_chmod("/t", 0600), 0);
    CHECK(sys_access("/t", X_OK), -EACCES);
    CHECK(sys_access("/t", 8), -EINVAL);
    struct timespec times[2] = {{1, 2}, {.tv_nsec = 0x3ffffffe}};
    long modified = stat_of("/t").st_mtim.tv_sec;
    CHECK(sys_utimensat(AT_FDCWD, "/t", times, 0), 0);
    CHECK(stat_of("/t").st_atim.tv_nsec, 2);
    CHECK(stat_of("/t").st_mtim.tv_sec, modified);
    CHECK(sys_truncate("/t", 2), 0);
    CHECK(sys_truncate("/dev", 2), -EISDIR);
    CHECK(stat_of("/t").st_size, 2);
    struct statfs fs;
    CHECK(sys_statfs("/t", &fs), 0);
    CHECK(fs.f_bsize, 4096);
    CHECK(sys_umask(077), 022);
    CHECK(sys_mkdir("/u", 0777), 0);
    CHECK(stat_of("/u").st_mode, S_IFDIR | 0700);
    CHECK(sys_umask(022), 077);
    CHECK(sys_unlink("/t") | sys_rmdir("/u"), 0);
}

static void test_mounts(void) {
    CHECK(sys_mkdir("/m", 0755), 0);
    CHECK(sys_mount("none", "/m", "ramfs", 0, NULL), 0);
    make("/m/x", "inside");
    CHECK(sys_mkdir("/m/deep", 0755), 0);
    struct stat s;
    CHECK(sys_stat("/m/deep/../../m/x", &s), 0);
    CHECK(sys_chdir("/m/deep"), 0);
    CHECK(sys_umount2("/m", 0), -EBUSY);
    CHECK(sys_chdir("/"), 0);
    CHECK(sys_mount("none", "/m/deep", "ramfs", 1, NULL), 0);
    CHECK(sys_mkdir("/m/deep/no", 0755), -EROFS);
    CHECK(sys_umount2("/m", 0), -EBUSY);
    CHECK(sys_umount2("/m/deep", 0), 0);
    int fd = (int)sys_open("/m/x", O_RDONLY, 0);
    CHECK(sys_umount2("/m", 0), -EBUSY);
    CHECK(sys_close(fd), 0);
    CHECK(sys_umount2("/m/x", 0), -EINVAL);
    CHECK(sys_umount2("/m", 0), 0);
    CHECK(sys_umount2("/m", 0), -EINVAL);
    CHECK(sys_stat("/m/x", &s), -ENOENT);
    shim_quiet = true;
    CHECK(sys_mount("none", "/m", "zfs", 0, NULL), -ENODEV);
    CHECK(sys_mount("/dev/vblk9", "/m", "rofs", 0, NULL), -ENXIO);
    shim_quiet = false;
    CHECK(sys_rmdir("/m"), 0);
}

int main(void) {
    shim_start(4096);
    size_t pages = shim_pages_used();
    test_open();
    test_names();
    test_links();
    test_rename();
    test_contents();
    test_directories();
    test_descriptors();
    test_devices();
    test_terminal();
    test_attributes();
    test_mounts();
    CHECK(shim_pages_used(), pages);
    puts("ok");
    return 0;
}
