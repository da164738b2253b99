// malloc and its family, hammered by threads that free each other's blocks. Every block says how
// long it is and is filled with bytes of its own, which are checked whenever it changes hands.
// Arguments break a rule, one each: the program must not come back.
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { THREADS = 4, STEPS = 40000, SHARED = 600, OWN = 64 };

struct head {
    size_t size;
    unsigned char fill;
};

static struct head *_Atomic shared[SHARED]; // anybody's

static unsigned next_random(unsigned *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static size_t some_size(unsigned *random) {
    static const size_t most[] = {64, 64, 300, 300, 1100, 1100, 5000, 20000};
    size_t limit = next_random(random) % 400 ? most[next_random(random) % 8] : 600000;
    return sizeof(struct head) + next_random(random) % limit;
}

static struct head *filled(void *block, size_t size, unsigned char fill) {
    struct head *head = block;
    CHECK(head && (uintptr_t)block % 16 == 0 && malloc_usable_size(block) >= size);
    memset(head, fill, size);
    *head = (struct head){size, fill};
    return head;
}

static void check_from(const struct head *head, size_t size) {
    const unsigned char *bytes = (const unsigned char *)head;
    for (size_t i = sizeof(*head); i < size; i++)
        CHECK(bytes[i] == head->fill);
}

static struct head *cleared(size_t size, unsigned char fill) {
    unsigned char *block = calloc(1, size);
    CHECK(block);
    for (size_t i = 0; i < size; i++)
        CHECK(!block[i]);
    return filled(block, size, fill);
}

static struct head *aligned(unsigned *random, size_t size, unsigned char fill) {
    size_t alignment = (size_t)8 << next_random(random) % 10;
    void *block = NULL;
    switch (next_random(random) % 3) {
    case 0:
        CHECK(posix_memalign(&block, alignment, size) == 0);
        break;
    case 1:
        block = memalign(alignment, size);
        break;
    default:
        block = aligned_alloc(alignment, size);
    }
    CHECK((uintptr_t)block % alignment == 0);
    return filled(block, size, fill);
}

static struct head *resized(struct head *head, size_t size, unsigned char fill) {
    struct head old = *head;
    head = realloc(head, size);
    CHECK(head && head->size == old.size && head->fill == old.fill);
    check_from(head, old.size < size ? old.size : size);
    return filled(head, size, fill);
}

static struct head *changed(struct head *head, unsigned *random) {
    unsigned what = next_random(random) % 8;
    unsigned char fill = (unsigned char)next_random(random);
    size_t size = some_size(random);
    if (head)
        check_from(head, head->size);
    if (head && what < 2)
        return resized(head, size, fill);
    free(head);
    switch (what) {
    case 2:
        return NULL;
    case 3:
        return cleared(size, fill);
    case 4:
        return aligned(random, size, fill);
    default:
        return filled(malloc(size), size, fill);
    }
}

static void *hammer(void *number) {
    struct head *own[OWN] = {0};
    unsigned random = (unsigned)(uintptr_t)number;
    for (int i = 0; i < STEPS; i++) {
        struct head **mine = &own[next_random(&random) % OWN];
        *mine = changed(*mine, &random);
        if (i % 4 == 0)
            *mine = __atomic_exchange_n((struct head **)&shared[next_random(&random) % SHARED],
                                        *mine, __ATOMIC_ACQ_REL);
    }
    for (int i = 0; i < OWN; i++)
        free(own[i]);
    return NULL;
}

static void threads_hammer(void) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SHARED; i++) {
        if (shared[i])
            check_from(shared[i], shared[i]->size);
        free(shared[i]);
    }
}

// In a thread that ends, after other keys' destructors, too.
static void *use_and_end(void *key) {
    void *blocks[400];
    for (size_t i = 0; i < 400; i++)
        CHECK(blocks[i] = malloc(1 + i * 5 % 1024));
    for (size_t i = 0; i < 400; i++)
        free(blocks[i]);
    CHECK(pthread_setspecific(*(pthread_key_t *)key, malloc(100)) == 0);
    return NULL;
}

static void threads_give_back(void) {
    pthread_key_t key;
    CHECK(pthread_key_create(&key, free) == 0);
    for (int i = 0; i < 2000; i++) { // what they free would fill the machine several times
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, use_and_end, &key) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static void every_size(void) {
    for (size_t size = 0; size < 70000; size += size < 2000 ? 1 : 97) {
        unsigned char *one = malloc(size), *other = malloc(size);
        CHECK(one && other && one != other);
        size_t usable = malloc_usable_size(one);
        CHECK(usable >= size && usable <= size + size / 3 + 8192);
        memset(one, 1, usable);
        memset(other, 2, malloc_usable_size(other));
        CHECK(!size || (one[0] == 1 && one[usable - 1] == 1));
        free(one);
        free(other);
    }
    for (size_t alignment = 16; alignment <= 4 << 20; alignment *= 2) {
        unsigned char *block = NULL, *other = NULL;
        CHECK(posix_memalign((void **)&block, alignment, 5 * alignment) == 0);
        CHECK(posix_memalign((void **)&other, alignment, 1) == 0);
        CHECK((uintptr_t)block % alignment == 0 && (uintptr_t)other % alignment == 0);
        block[0] = block[5 * alignment - 1] = other[0] = 1;
        block = realloc(block, 6 * alignment);
        CHECK(block && block[0] == 1 && block[5 * alignment - 1] == 1);
        free(block);
        free(other);
    }
}

// A block grows to more than half of the (virtual) machine's memory while others stand in its way.
static void grow_large(size_t most) {
    size_t size = 1 << 20, *block = NULL;
    void *between[64];
    int count = 0;
    for (; size < most; size += size / 4) {
        size_t old = block ? malloc_usable_size(block) / sizeof(size_t) : 0;
        CHECK(block = realloc(block, size));
        for (size_t i = 0; i < old; i += 512)
            CHECK(block[i] == i);
        for (size_t i = 0; i < malloc_usable_size(block) / sizeof(size_t); i += 512)
            block[i] = i;
        CHECK(between[count++] = malloc(300000));
    }
    CHECK(block = realloc(block, 100000));
    for (size_t i = 0; i < 100000 / sizeof(size_t); i += 512)
        CHECK(block[i] == i);
    free(block);
    while (count)
        free(between[--count]);
}

static void refusals(void) {
    volatile size_t huge = SIZE_MAX - 64;
    void *block = malloc(10);
    for (; huge > SIZE_MAX / 4; huge -= SIZE_MAX / 8) {
        errno = 0;
        CHECK(!malloc(huge) && errno == ENOMEM);
        errno = 0;
        CHECK(!realloc(block, huge) && errno == ENOMEM);
        errno = 0;
        CHECK(!calloc(huge, 16) && errno == ENOMEM);
        CHECK(posix_memalign(&block, 64, huge) == ENOMEM);
        CHECK(posix_memalign(&block, 65536, huge) == ENOMEM);
    }
    CHECK(posix_memalign(&block, 24, 10) == EINVAL);
    errno = 7;
    free(block);
    free(malloc(1 << 20));
    CHECK(errno == 7);
}

static void *free_it(void *block) {
    free(block);
    return block;
}

static void break_a_rule(const char *rule) {
    char *block = malloc(strstr(rule, "large") ? 30000 : strstr(rule, "middle") ? 3000 : 100);
    uintptr_t junk[64] = {0};
    void *volatile victim = block;
    if (strstr(rule, "elsewhere")) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, free_it, block) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    } else if (strstr(rule, "twice")) {
        free(block);
    } else if (strstr(rule, "inside")) {
        victim = block + 32;
    } else {
        victim = &junk[16];
    }
    if (strstr(rule, "realloc"))
        victim = realloc(victim, 50000);
    free(victim);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        break_a_rule(argv[1]);
        puts("survived");
        return 1;
    }
    every_size();
    refusals();
    grow_large(46 << 20);
    threads_hammer();
    threads_give_back();
    puts("ok");
    return 0;
}
