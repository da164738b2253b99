// A program with a malloc of its own: libc uses it, too.
#include "check.h"
#include <stdint.h>
#include <string.h>

static _Alignas(16) char heap[1 << 20];
static size_t used;
static volatile size_t calls; // strdup is declared not to call back, so the compiler must be told

void *malloc(size_t size) {
    void *result = heap + used;
    used += (size + 31) & ~15UL;
    calls++;
    return used <= sizeof(heap) ? result : NULL;
}
void free(void *object) {
    CHECK(!object || ((uintptr_t)object >= (uintptr_t)heap &&
                      (uintptr_t)object < (uintptr_t)heap + sizeof(heap)));
}
void *calloc(size_t count, size_t size) {
    return memset(malloc(count * size), 0, count * size);
}
void *realloc(void *object, size_t size) {
    void *result = malloc(size);
    return object ? memmove(result, object, size) : result;
}

int main(void) {
    size_t before = calls;
    char *copy = strdup("text"), *line = NULL;
    CHECK(calls == before + 1 && copy >= heap && copy < heap + sizeof(heap));
    free(copy);
    CHECK(asprintf(&line, "%d", 12345) == 5 && line >= heap && line < heap + sizeof(heap));
    free(line);
    puts("ok");
    return 0;
}
