// Asks for the addresses of names. resolve NAME...
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        char text[INET_ADDRSTRLEN] = "";
        int status = getaddrinfo(names[i], "80", &hints, &found);
        if (status != 0) {
            printf("%s: %s\n", names[i], gai_strerror(status));
            continue;
        }
        for (struct addrinfo *a = found; a; a = a->ai_next) {
            struct sockaddr_in *in = (void *)a->ai_addr;
            inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
            printf("%s: %s port %d\n", names[i], text, ntohs(in->sin_port));
        }
        freeaddrinfo(found);
    }
    return 0;
}
