// Ends in the way its argument says.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_term(int signal) {
    (void)signal;
    static const char text[] = "asked to go\n";
    if (write(1, text, sizeof(text) - 1))
        _exit(0);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "0";
    printf("ending: %s\n", how);
    fflush(stdout);
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "kill"))
        raise(SIGKILL);
    if (!strcmp(how, "wait")) {
        signal(SIGTERM, on_term);
        for (;;)
            pause();
    }
    if (!strcmp(how, "where")) {
        char folder[256];
        printf("%s %s %s\n", getcwd(folder, sizeof(folder)), getenv("OSV_VERSION"),
               getenv("OSV_CPUS"));
        fprintf(stderr, "on stderr\n");
        return 0;
    }
    _exit(atoi(how));
}
