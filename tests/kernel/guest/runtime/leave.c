// Leaves badly: threads in the middle of malloc and stdio, stdout closed, locale and getopt
// changed. The next program must not notice.
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *hammer(void *unused) {
    for (;;) {
        free(malloc(rand() % 5000));
        fprintf(stderr, "%s", "");
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    for (int i = 0; i < 4; i++)
        pthread_create(&thread, NULL, hammer, NULL);
    usleep(20000);
    optind = 100;
    fclose(stdout);
    close(0);
    return 5;
}
