// Names: what Linux promises about opening, making, linking, renaming and removing them.

#include "files_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

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
    CHECK(sys_mount("none", "/m", "zfs", 0, NULL), -ENODEV);
    CHECK(sys_mount("/dev/vblk9", "/m", "rofs", 0, NULL), -ENXIO);
    CHECK(sys_rmdir("/m"), 0);
}

int main(void) {
    shim_start(4096);
    size_t pages = shim_pages_used();
    test_open();
    test_names();
    test_links();
    test_rename();
    test_directories();
    test_mounts();
    CHECK(shim_pages_used(), pages);
    puts("ok");
    return 0;
}
