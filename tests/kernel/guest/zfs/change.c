// Changes a tree that test_zfs_files.fill made, below the folder that is its argument: makes, writes,
// cuts, renames, links and removes. The same on every system, so that trees can be compared.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char paths[4][4096];

static const char *path(const char *top, const char *format, int number) {
    static unsigned turn;
    char *out = paths[turn++ % 4];
    int length = snprintf(out, sizeof(paths[0]), "%s/", top);
    snprintf(out + length, sizeof(paths[0]) - (size_t)length, format, number);
    return out;
}

static void need(const char *what, int right) {
    if (!right) {
        printf("%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void write_file(const char *name, long offset, int size, int flags) {
    static char data[300000];
    int file = open(name, O_WRONLY | flags, 0644);
    need(name, file >= 0);
    for (int i = 0; i < size; i++)
        data[i] = (char)((i + offset) % 251);
    need(name, lseek(file, offset, flags & O_APPEND ? SEEK_END : SEEK_SET) >= 0);
    need(name, write(file, data, (size_t)size) == size);
    close(file);
}

int main(int argc, char **argv) {
    const char *top = argc > 1 ? argv[1] : "";
    need("mkdir", mkdir(path(top, "made", 0), 0755) == 0);
    for (int i = 0; i < 500; i++)
        write_file(path(top, "made/file %d", i), 0, i * 40, O_CREAT);
    for (int i = 0; i < 500; i += 3)
        need("unlink", unlink(path(top, "made/file %d", i)) == 0);
    need("rename", rename(path(top, "many/entry 1", 0), path(top, "made/moved", 0)) == 0);
    for (int i = 2; i < 3000; i += 2)
        if (i % 7 != 0)
            need("unlink", unlink(path(top, "many/entry %d", i)) == 0);
    write_file(path(top, "size 400000", 0), 200000, 70000, 0);
    need("truncate", truncate(path(top, "size 400000", 0), 300001) == 0);
    write_file(path(top, "size 511", 0), 0, 20000, O_APPEND);
    write_file(path(top, "sparse", 0), 20 << 20, 1000, 0);
    need("truncate", truncate(path(top, "size 513", 0), 200000) == 0);
    need("chmod", chmod(path(top, "size 512", 0), 0600) == 0);
    need("symlink", symlink("target", path(top, "made/link", 0)) == 0);
    need("link", link(path(top, "size 1", 0), path(top, "made/hard", 0)) == 0);
    need("unlink", unlink(path(top, "link 1000", 0)) == 0);
    need("unlink", unlink(path(top, "another name", 0)) == 0);
    need("unlink", unlink(path(top, "size 100000", 0)) == 0);
    need("rename", rename(path(top, "a/b/deep", 0), path(top, "text", 0)) == 0);
    need("rmdir", rmdir(path(top, "a/b", 0)) == 0);
    sync();
    puts("changed");
    return 0;
}
