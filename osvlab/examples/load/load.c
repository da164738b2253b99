// Uses memory and threads, to be watched: each thread takes memory step by step, and gives it back.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEPS = 8, MIB = 1 << 20 };

static size_t step;           // bytes that a thread takes at a time
static useconds_t pause_time; // microseconds between two steps

static void *work(void *unused) {
    char *taken[STEPS] = {0};

    for (int n = 0; n < STEPS; n++) {
        // Memory that nobody has touched costs nothing: a page is there once it is written.
        taken[n] = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (taken[n] == MAP_FAILED) {
            perror("load");
            exit(EXIT_FAILURE);
        }
        memset(taken[n], 1, step);
        usleep(pause_time);
    }
    for (int n = STEPS - 1; n >= 0; n--) {
        munmap(taken[n], step);
        usleep(pause_time);
    }
    return unused;
}

int main(int argc, char **argv) {
    int threads = argc == 4 ? atoi(argv[1]) : 0;

    if (threads < 1) {
        fprintf(stderr, "usage: load THREADS MIB SECONDS\n");
        return EXIT_FAILURE;
    }
    step = (size_t)atoi(argv[2]) * MIB / threads / STEPS & ~(size_t)4095;
    pause_time = atof(argv[3]) * 1e6 / (2 * STEPS + threads);
    pthread_t *started = calloc(threads, sizeof(*started));

    printf("load: %d threads take %s MiB\n", threads, argv[2]);
    for (int n = 0; n < threads; n++) {
        if (pthread_create(&started[n], NULL, work, NULL) != 0) {
            perror("load");
            return EXIT_FAILURE;
        }
        usleep(pause_time); // so that they come one after the other
    }
    for (int n = 0; n < threads; n++)
        pthread_join(started[n], NULL);
    free(started);
    puts("load: done");
    return EXIT_SUCCESS;
}
