#include <stdio.h>
#ifndef LETTER
#define LETTER "?"
#endif
int shared_variable = 7;
int *shared_variable_address(void) {
    return &shared_variable;
}
__attribute__((constructor)) static void begin(int argc, char **argv, char **envp) {
    printf("library " LETTER " begins %d %s %s\n", argc, argv[argc - 1], envp[0] ? "envp" : "");
}
__attribute__((destructor)) static void end(void) {
    puts("library " LETTER " ends");
}
