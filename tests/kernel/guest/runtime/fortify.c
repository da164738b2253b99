// -D_FORTIFY_SOURCE: checked functions that fit, then (with an argument) one that does not.
#include "check.h"
#include <poll.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <wchar.h>

int main(int argc, char **argv) {
    char small[8], line[32];
    volatile size_t size = argc > 1 ? 64 : 4;
    static char source[64] = "abc";
    fd_set set;
    FD_ZERO(&set);
    FD_SET(argc, &set);
    CHECK(FD_ISSET(argc, &set));
    memcpy(small, source, size);
    CHECK(!strcmp(small, "abc"));
    snprintf(line, sizeof(line), "%s %d", argv[0] ? "x" : "", 5);
    CHECK(!strcmp(line, "x 5"));
    strcpy(line, argv[0] + strlen(argv[0]) - 3);
    strcat(line, "y");
    CHECK(read(-1, line, sizeof(line)) == -1);
    fprintf(stdout, "%s\n", "ok");
    return 0;
}
