// send FILE ADDRESS PORT: what `nc ADDRESS PORT < FILE` of busybox does, call by call, for a guest
// that has no shell to open the file.

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char buffer[1024]; // nc's

    if (argc < 4)
        return 2;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[3])),
                             .sin_addr.s_addr = inet_addr(argv[2])};
    int s = socket(AF_INET, SOCK_STREAM, 0), file = open(argv[1], O_RDONLY);
    if (s < 0 || file < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) < 0) {
        perror("send");
        return 1;
    }
    for (;;) {
        struct pollfd both[] = {{.fd = file, .events = POLLIN}, {.fd = s, .events = POLLIN}};
        if (poll(both, 2, -1) < 1 || both[1].revents)
            return 1;
        ssize_t size = read(file, buffer, sizeof(buffer));
        if (size <= 0)
            return size < 0;
        for (ssize_t done = 0, now; done < size; done += now)
            if ((now = write(s, buffer + done, (size_t)(size - done))) <= 0)
                return 1;
    }
}
