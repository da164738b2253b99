// A shared object that is a program: it exports main.
#include <stdio.h>
int main(int argc, char **argv) {
    printf("main of a library: %d %s\n", argc, argv[argc - 1]);
    return 6;
}
