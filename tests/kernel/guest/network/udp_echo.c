// Sends back every datagram that comes to a port. udp_echo PORT
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../core/check.h"

int main(int count, char **arguments) {
    static char bytes[65536];
    struct sockaddr_in address = {.sin_family = AF_INET}, from;
    int s = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK(count == 2);
    address.sin_port = htons((unsigned short)atoi(arguments[1]));
    CHECK(bind(s, (void *)&address, sizeof(address)) == 0);
    for (;;) {
        socklen_t size = sizeof(from);
        ssize_t got = recvfrom(s, bytes, sizeof(bytes), 0, (void *)&from, &size);
        if (got >= 0) // else an ICMP error has told of a peer that is gone
            sendto(s, bytes, (size_t)got, 0, (void *)&from, size);
    }
}
