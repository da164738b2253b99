// Code without call frame information and without frame pointers, as musl's is; see
// unwind_test.c. It keeps callee-saved registers busy, so that guesses about them matter.

int bare_inner(int (*callback)(int), int n);
int bare_middle(int (*callback)(int), int n);
int bare_outer(int (*callback)(int), int n);

__attribute__((noinline, noclone)) int bare_inner(int (*callback)(int), int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += callback(i) * n;
    return sum;
}

__attribute__((noinline, noclone)) int bare_middle(int (*callback)(int), int n) {
    volatile char buffer[300];
    buffer[n] = (char)n;
    return bare_inner(callback, n) + buffer[n];
}

__attribute__((noinline, noclone)) int bare_outer(int (*callback)(int), int n) {
    int a = bare_middle(callback, n);
    return a + n;
}
