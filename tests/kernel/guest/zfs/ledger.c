// Writes files without end, and says on the console what has become durable, for who cuts the power.
//
// ledger DIR SEED: makes DIR, and works there. Lines, each printed when what it says is durable (or, where noted, before it begins):
//   F name seed size   a file with contents that follow from seed and size
//   O old new          before old is renamed to new: from here on it has one of the two names
//   N new              new is its name, durably
//   D name             before name is removed: from here on it may be gone
//   L count            the log has at least so many records of 8 bytes, numbered from 0
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES = 60, LARGEST = 300000, BASE = 65536 };

static uint64_t state;
static unsigned char base[BASE], data[LARGEST];
static char names[NAMES][64];

static uint64_t chance(uint64_t below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (state >> 11) % below;
}

static void check(int good, const char *what) {
    if (good)
        return;
    perror(what);
    exit(EXIT_FAILURE);
}

// What every file is cut from: noise that cannot be compressed, and runs of zeros that can.
static void make_base(void) {
    uint64_t word = 1;
    for (size_t i = 0; i < BASE; i++) {
        if (i % 8 == 0)
            word ^= word << 13, word ^= word >> 7, word ^= word << 17;
        base[i] = i / 4096 % 2 ? 0 : (unsigned char)(word >> i % 8 * 8);
    }
}

// The base over and over, from the place that the seed says.
static void fill(uint64_t seed, size_t size) {
    for (size_t i = 0; i < size; i++)
        data[i] = base[(seed + i) % BASE];
}

static void durable(const char *path) {
    int file = open(path, O_RDONLY);
    check(file >= 0 && fsync(file) == 0 && close(file) == 0, path);
}

static void write_file(char name[64], unsigned number) {
    uint64_t seed = chance(1u << 30) + 1;
    size_t size = chance(3) ? chance(5000) : chance(LARGEST);
    snprintf(name, 64, "%s/file%u", number % 3 ? "a" : "b", number);
    fill(seed, size);
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    check(file >= 0, name);
    for (size_t done = 0; done < size;) {
        size_t piece = chance(50000) + 1;
        if (piece > size - done)
            piece = size - done;
        check(write(file, data + done, piece) == (ssize_t)piece, "write");
        done += piece;
    }
    check(fsync(file) == 0 && close(file) == 0, "fsync");
    printf("F %s %llu %zu\n", name, (unsigned long long)seed, size);
}

static void rename_file(char name[64], unsigned number) {
    char other[64];
    snprintf(other, sizeof(other), "%s/moved%u", number % 2 ? "a" : "b", number);
    printf("O %s %s\n", name, other);
    check(rename(name, other) == 0, "rename");
    durable(number % 2 ? "a" : "b");
    printf("N %s\n", other);
    memcpy(name, other, sizeof(other));
}

static void remove_file(char name[64]) {
    printf("D %s\n", name);
    check(unlink(name) == 0, "unlink");
    name[0] = '\0';
}

int main(int argc, char **argv) {
    check(argc == 3, "usage: ledger DIR SEED");
    check(mkdir(argv[1], 0755) == 0 && chdir(argv[1]) == 0, argv[1]);
    make_base();
    state = strtoull(argv[2], NULL, 10) * 2 + 1;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    mkdir("a", 0755), mkdir("b", 0755);
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    check(log >= 0, "log");
    uint64_t records = 0;
    puts("begins");
    for (unsigned number = 0;; number++) {
        char *name = names[chance(NAMES)];
        if (!*name)
            write_file(name, number);
        else if (chance(2))
            rename_file(name, number);
        else
            remove_file(name);
        check(write(log, &records, 8) == 8, "log");
        records++;
        if (chance(4) == 0) {
            check(fsync(log) == 0, "fsync of the log");
            printf("L %llu\n", (unsigned long long)records);
        }
    }
}
