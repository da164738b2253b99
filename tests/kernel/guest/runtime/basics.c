// What every program uses: arguments, environment, getopt's variables (COPY relocations),
// errno and thread-local storage of threads, the auxiliary vector.
#include "check.h"
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static __thread int counter = 5;

static void *work(void *argument) {
    counter += (int)(long)argument;
    errno = 7;
    return (void *)(long)counter;
}

int main(int argc, char **argv, char **envp) {
    int option;
    char seen[8] = "", *next = seen;
    while ((option = getopt(argc, argv, "ab:")) != -1)
        *next++ = (char)option;
    CHECK(!strcmp(seen, "ab"));
    CHECK(optind == argc - 1 && !strcmp(argv[optind], "last"));
    CHECK(envp == environ && !strcmp(getenv("A"), "b c"));
    CHECK(!strcmp(program_invocation_short_name, strrchr(argv[0], '/') + 1));
    CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_PHNUM) > 2 && getauxval(AT_PHDR) &&
          getauxval(AT_ENTRY));
    CHECK(getauxval(AT_RANDOM) && !getauxval(AT_SECURE));
    pthread_t threads[8];
    long sum = 0;
    errno = 3;
    for (long i = 0; i < 8; i++)
        CHECK(!pthread_create(&threads[i], NULL, work, (void *)i));
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    CHECK(sum == 8 * 5 + 28 && errno == 3 && counter == 5);
    puts("ok");
    return 0;
}
