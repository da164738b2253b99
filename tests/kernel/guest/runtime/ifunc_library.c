// A function that is chosen when the library is linked.
static int chosen(void) {
    return 42;
}
static int (*resolve(void))(void) {
    return chosen;
}
int library_choice(void) __attribute__((ifunc("resolve")));
