// Sends so many bytes over TCP while as many come back, and looks at each of them.
// transfer listen PORT BYTES | transfer ADDRESS PORT BYTES
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/check.h"

static unsigned long total;
static int connection, key;

static unsigned char byte_at(unsigned long position, int whose) {
    return (unsigned char)((position * 2654435761UL + (unsigned long)whose * 77) >> 13);
}

static void *write_all(void *unused) {
    static unsigned char piece[50000];
    for (unsigned long done = 0; done < total;) {
        size_t size = total - done < sizeof(piece) ? total - done : sizeof(piece);
        for (size_t i = 0; i < size; i++)
            piece[i] = byte_at(done + i, key);
        CHECK(send(connection, piece, size, 0) == (ssize_t)size);
        done += size;
    }
    CHECK(shutdown(connection, SHUT_WR) == 0);
    return unused;
}

static void read_all(void) {
    static unsigned char piece[50000];
    unsigned long done = 0;
    for (ssize_t got; (got = recv(connection, piece, sizeof(piece), 0)) != 0;) {
        CHECK(got > 0);
        for (ssize_t i = 0; i < got; i++, done++)
            if (piece[i] != byte_at(done, !key)) {
                printf("byte %lu is %02x, not %02x\n", done, piece[i], byte_at(done, !key));
                exit(1);
            }
    }
    CHECK(done == total);
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(arguments[2]))};
    total = strtoul(arguments[3], NULL, 0);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(arguments[1], "listen") == 0) {
        CHECK(bind(s, (void *)&address, sizeof(address)) == 0 && listen(s, 1) == 0);
        puts("listening");
        fflush(stdout);
        connection = accept(s, NULL, NULL);
    } else {
        CHECK(inet_pton(AF_INET, arguments[1], &address.sin_addr) == 1);
        CHECK(connect(s, (void *)&address, sizeof(address)) == 0);
        connection = s;
        key = 1;
    }
    CHECK(connection >= 0);
    puts("connected");
    fflush(stdout);
    pthread_t writer;
    CHECK(pthread_create(&writer, NULL, write_all, NULL) == 0);
    read_all();
    CHECK(pthread_join(writer, NULL) == 0);
    close(connection);
    puts("transfer: ok");
    fflush(stdout);
    pause(); // whoever ends now may leave the other side without the last of it
}
