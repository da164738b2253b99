// All models of thread-local storage, in the first thread and in others.
#include "check.h"
#include <pthread.h>
#include <stdint.h>
#include <string.h>

extern __thread int exported, zeroed;
long *local_pair(int which);
int *exported_address(void);
char *aligned_address(void);

static __thread char big[100000] = "big"; // far more than OSv's 536 bytes
static __thread int last = 77;
static __thread uint64_t wide __attribute__((aligned(32))) = 32;

static void check_all(void) {
    CHECK(exported == 11 && zeroed == 0 && exported_address() == &exported);
    CHECK(*local_pair(0) == 1 && *local_pair(1) == 2);
    CHECK(!strcmp(aligned_address(), "aligned") && (uintptr_t)aligned_address() % 64 == 0);
    CHECK(!strcmp(big, "big") && big[sizeof(big) - 1] == 0 && last == 77);
    CHECK(wide == 32 && (uintptr_t)&wide % 32 == 0);
    exported++, zeroed++, ++*local_pair(0), last++, wide++;
    big[0] = big[sizeof(big) - 1] = 'x';
    aligned_address()[0] = 'x';
}

static void *work(void *unused) {
    check_all();
    CHECK(exported == 12 && big[0] == 'x');
    return unused;
}

int main(void) {
    check_all();
    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            CHECK(!pthread_create(&threads[i], NULL, work, NULL));
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    CHECK(exported == 12 && last == 78);
    puts("ok");
    return 0;
}
