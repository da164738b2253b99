// What files on a disk cost: one program for both systems.
//
// files write DIR: writes 64 MiB that cannot be compressed, in pieces of 128 KiB, until they are durable.
// files create DIR: creates 10,000 files of 100 bytes, until they are durable.
// files read DIR: reads the 64 MiB; run it after another boot, or they come from memory.
// Prints "<name> <milliseconds>".
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 128 << 10, PIECES = 512, FILES = 10000 };

static uint64_t piece[PIECE / 8];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void check(int good, const char *what) {
    if (good)
        return;
    perror(what);
    exit(EXIT_FAILURE);
}

// Another one each time, so that nothing could be stored once for two.
static void fill(uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
    for (size_t i = 0; i < PIECE / 8; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        piece[i] = state;
    }
}

static double write_large(void) {
    double taken = 0;
    int file = open("large", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    check(file >= 0, "large");
    for (int i = 0; i < PIECES; i++) {
        fill(i + 1);
        double began = now();
        check(write(file, piece, PIECE) == PIECE, "write");
        taken += now() - began;
    }
    double began = now();
    check(fsync(file) == 0, "fsync");
    check(close(file) == 0, "close");
    return taken + now() - began;
}

static double read_large(void) {
    uint64_t first = 0;
    double began = now();
    int file = open("large", O_RDONLY);
    check(file >= 0, "large");
    for (int i = 0; i < PIECES; i++) {
        check(read(file, piece, PIECE) == PIECE, "read");
        first ^= piece[0];
    }
    close(file);
    double taken = now() - began;
    for (int i = 0; i < PIECES; i++) {
        fill(i + 1);
        first ^= piece[0];
    }
    check(first == 0, "what was read is not what was written");
    return taken;
}

static double create_many(void) {
    char name[32];
    fill(1);
    double began = now();
    check(mkdir("many", 0755) == 0, "many");
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "many/file%05d", i);
        int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        check(file >= 0, name);
        check(write(file, piece, 100) == 100, name);
        check(close(file) == 0, name);
    }
    sync();
    return now() - began;
}

int main(int argc, char **argv) {
    check(argc == 3 && chdir(argv[2]) == 0, "usage: files write|read|create DIR");
    double taken = strcmp(argv[1], "write") == 0    ? write_large()
                   : strcmp(argv[1], "create") == 0 ? create_many()
                                                    : read_large();
    printf("%s %.1f\n", argv[1], taken);
    return EXIT_SUCCESS;
}
