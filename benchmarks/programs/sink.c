// sink ADDRESS PORT: receives and drops what comes, in large pieces: what the link itself can do.

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char buffer[1 << 16];
    ssize_t size;

    if (argc < 3)
        return 2;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[2])),
                             .sin_addr.s_addr = inet_addr(argv[1])};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("sink");
        return 1;
    }
    while ((size = read(s, buffer, sizeof(buffer))) > 0)
        ;
    return size < 0;
}
