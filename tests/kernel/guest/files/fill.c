// Fills a directory with names until there is no room for more (for the guest only), and then needs
// memory itself: the filesystem must have left some.
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/check.h"

int main(int count, char **arguments) {
    char name[256], target[4000];
    int made = 0;

    CHECK(count == 2 && chdir(arguments[1]) == 0 && mkdir("full", 0700) == 0 && chdir("full") == 0);
    memset(name, 'n', sizeof(name));
    memset(target, 't', sizeof(target));
    target[sizeof(target) - 1] = 0;
    do {
        snprintf(name + 240, 16, "%d", made++);
    } while (symlink(target, name) == 0);
    CHECK(errno == ENOSPC && made > 500);
    size_t size = 1 << 20;
    char *memory = malloc(size);
    CHECK(memory != NULL);
    memset(memory, 1, size);
    printf("fill: %d names\n", made);
    return 0;
}
