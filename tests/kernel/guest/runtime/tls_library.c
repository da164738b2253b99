// Thread-local storage in a library: general dynamic (exported), local dynamic (two statics),
// and what the program reaches by initial exec.
__thread int exported = 11;
__thread int zeroed;
static __thread long first = 1, second = 2;
static __thread char aligned[64] __attribute__((aligned(64))) = "aligned";

long *local_pair(int which) {
    return which ? &second : &first;
}
int *exported_address(void) {
    return &exported;
}
char *aligned_address(void) {
    return aligned;
}
