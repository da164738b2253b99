// The file layer as a host program: contents, descriptors, devices, the terminal, bootfs; and all of it when
// memory runs out.

#include "files_shim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "bootfs.h"
#include "check.h"

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

// A bootfs archive: sane ones are unpacked, damaged ones refused, none crashes.
static void archive_record(u8 *archive, int index, const char *name, u8 type, u64 size,
                           u64 offset) {
    u8 *record = archive + 128 * index;
    memset(record, 0, 128);
    memcpy(record, &size, 8);
    memcpy(record + 8, &offset, 8);
    record[16] = type;
    strncpy((char *)record + 17, name, 111);
}

static int unpack(const u8 *archive, size_t size) {
    u8 *copy = malloc(size); // exactly as long as said, for the sanitizer
    memcpy(copy, archive, size);
    int status = bootfs_unpack_memory(names_root(), copy, copy + size);
    free(copy);
    return status;
}

static void test_bootfs(void) {
    static u8 archive[128 * 5 + 9000];
    char text[16] = {0};
    u64 data = 128 * 5;
    archive_record(archive, 0, "/b/", 0, 0, 0);
    archive_record(archive, 1, "b/deep/file", 0, 9000, data);
    archive_record(archive, 2, "/b/link", 1, 10, data);
    archive_record(archive, 3, "b/deep/file", 0, 5, data + 10); // the last of a name wins
    memcpy(archive + data, "deep/file\0hello", 15);
    CHECK(unpack(archive, sizeof(archive)), 0);
    int fd = (int)sys_open("/b/link", O_RDONLY, 0);
    CHECK(sys_read(fd, text, sizeof(text)), 5);
    assert(strcmp(text, "hello") == 0);
    CHECK(sys_close(fd) | sys_unlink("/b/link") | sys_unlink("/b/deep/file"), 0);
    CHECK(sys_rmdir("/b/deep") | sys_rmdir("/b"), 0);

    const struct {
        const char *name;
        u8 type;
        u64 size, offset;
    } damaged[] = {
        {"f", 0, 9001, data},      {"f", 0, UINT64_MAX, data},
        {"f", 0, 1, UINT64_MAX},   {"f", 2, 1, 0},
        {"l", 1, 0, data},         {"l", 1, 5000, data},
        {"l", 1, 1, data + 9},     {"", 0, 1, data},
        {"a/../../f", 0, 1, data}, {"dev/null/f", 0, 1, data},
        {"proc/./f", 0, 1, data},
    };
    for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
        archive_record(archive, 0, damaged[i].name, damaged[i].type, damaged[i].size,
                       damaged[i].offset);
        assert(unpack(archive, sizeof(archive)) < 0);
    }
    memset(archive + 17, 'x', 111); // a name without an end
    CHECK(unpack(archive, sizeof(archive)), -EINVAL);
    archive_record(archive, 0, "f", 0, 0, 0);
    CHECK(unpack(archive, 128), -EINVAL); // a list without an end
    CHECK(sys_unlink("/f"), 0);
    sys_rmdir("/a");
    sys_rmdir("/proc");
}

// Everything once, with memory ending after n allocations, for every n.
static void use_everything(void) {
    int ends[2];
    char buffer[600];
    sys_mkdir("/o", 0755);
    long fd = sys_open("/o/file", O_CREAT | O_RDWR, 0644);
    sys_pwrite64((int)fd, "x", 1, 5000);
    sys_ftruncate((int)fd, 100);
    sys_symlink("file", "/o/link");
    sys_link("/o/file", "/o/hard");
    sys_rename("/o/link", "/o/moved");
    sys_rename("/o/hard", "/o/moved");
    long list = sys_open("/o", O_RDONLY, 0);
    sys_getdents64((int)list, buffer, sizeof(buffer));
    sys_close((int)list);
    sys_close((int)fd);
    if (sys_pipe(ends) == 0) {
        sys_write(ends[1], buffer, sizeof(buffer));
        sys_close(ends[0]);
        sys_close(ends[1]);
    }
    sys_mkdir("/o/m", 0755);
    sys_mount("none", "/o/m", "ramfs", 0, NULL);
    sys_open("/o/m/x", O_CREAT | O_RDWR, 0644);
    sys_close((int)sys_dup2(0, 1000));
}

static void test_out_of_memory(void) {
    for (long n = 0; n < 120; n++) {
        shim_memory_fails_after(n);
        struct files *clone = files_clone(shim_process.files);
        if (clone != NULL) {
            struct files *mine = shim_process.files;
            shim_process.files = clone;
            use_everything();
            files_destroy(clone);
            shim_process.files = mine;
        }
        shim_memory_fails_after(-1);
        sys_umount2("/o/m", 0);
        sys_rmdir("/o/m");
        sys_unlink("/o/file"), sys_unlink("/o/link"), sys_unlink("/o/hard"), sys_unlink("/o/moved");
        sys_rmdir("/o");
        struct stat s;
        CHECK(sys_stat("/o", &s), -ENOENT);
    }
}

int main(void) {
    shim_start(4096);
    size_t pages = shim_pages_used();
    test_contents();
    test_descriptors();
    test_devices();
    test_terminal();
    test_attributes();
    test_bootfs();
    test_out_of_memory();
    CHECK(shim_pages_used(), pages);
    puts("ok");
    return 0;
}
