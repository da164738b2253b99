// The REST API server of the guest: HTTP/1.1 over the routes of routes.c, with OSv's interface
// (osv modules/httpserver-api).
//
// Reading order: head.c and chunked.c (a request), uri.c and router.c (which route), call.c
// (one request through it), body.c and multipart.c (what is sent along), exchange.c (request and
// reply), connection.c (a socket), loop.c (all of them); api_*.c are the routes themselves.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"
#include "settings.h"

__attribute__((visibility("default"))) int main(int argc, char **argv) {
    int status, port;
    const char *what;
    if (!settings_parse(argc, argv, &status)) {
        fflush(stdout);
        return status;
    }
    signal(SIGPIPE, SIG_IGN);
    port = settings.port;
    int listener = loop_listen(&port, &what);
    if (listener < 0) {
        printf("httpserver failed: %s: %s (%s:%d)\n", what, strerror(errno), settings.address,
               settings.port);
        fflush(stdout);
        return 1;
    }
    if (!settings.token)
        printf("httpserver: no --token: whoever reaches port %d rules this guest\n", port);
    printf("Rest API server running on port %d\n", port);
    fflush(stdout);
    loop_run(listener);
    close(listener);
    return 0;
}
