// The order of a program's beginnings and ends, and COPY of a library's variable.
#include "check.h"

extern int shared_variable;
int *shared_variable_address(void);

static void early(int argc, char **argv, char **envp) {
    (void)envp;
    printf("before everything %d %s\n", argc, argv[argc - 1]);
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(int, char **,
                                                                              char **) = early;

__attribute__((constructor(101))) static void first(void) {
    puts("program begins 101");
}
__attribute__((constructor)) static void second(int argc, char **argv, char **envp) {
    printf("program begins %d %s %s\n", argc, argv[argc - 1], envp[0] ? "envp" : "");
}
__attribute__((destructor)) static void end(void) {
    puts("program ends");
}
static void at_exit_1(void) {
    puts("atexit 1");
}
static void at_exit_2(void) {
    puts("atexit 2");
}

int main(void) {
    atexit(at_exit_1);
    atexit(at_exit_2);
    shared_variable++;
    CHECK(shared_variable == 8 && shared_variable_address() == &shared_variable);
    printf("main"); // no newline: flushed at the end
    return 3;
}
