// Makes requests to the REST server's routes from inside, as cloud-init does: each argument is
// "METHOD URI" or "METHOD URI BODY". Prints a line "STATUS BODY" for each.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int request_function(const char *, const char *, const char *, char **, size_t *);

int main(int argc, char **argv) {
    void *library = dlopen("/usr/lib/libhttpserver-api.so", RTLD_NOW);
    request_function *request =
        library ? (request_function *)dlsym(library, "httpserver_request") : NULL;
    if (!request) {
        puts(dlerror());
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        char *rest = argv[i], *reply;
        size_t length;
        const char *method = strsep(&rest, " "), *uri = strsep(&rest, " ");
        int status = request(method, uri, rest, &reply, &length);
        printf("%d %s\n", status, reply);
        free(reply);
    }
    fflush(stdout);
    return 0;
}
