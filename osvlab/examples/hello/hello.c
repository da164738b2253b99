// An ordinary program: compiled by the host's gcc against glibc, it knows nothing of the kernel it will run on.
#define _GNU_SOURCE // asprintf
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static void *greet(void *whom) {
    char *greeting;
    if (asprintf(&greeting, "Hello, %s", (char *)whom) < 0)
        return NULL;
    return greeting;
}

int main(int argc, char **argv) {
    struct utsname system;
    pthread_t thread;
    void *greeting = NULL;

    if (uname(&system) < 0 ||
        pthread_create(&thread, NULL, greet, argc > 1 ? argv[1] : "world") != 0) {
        perror("hello");
        return EXIT_FAILURE;
    }
    pthread_join(thread, &greeting);
    printf("%s, from %s %s on %s\n", greeting ? (char *)greeting : "?", system.sysname,
           system.release, system.machine);
    free(greeting);
    return EXIT_SUCCESS;
}
