// The REST API without a network: the module httpserver is loaded as a library and asked in this
// process, so that a configuration works before anything listens.

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handlers.h"

static const char library_name[] = "libhttpserver-api.so";

typedef int request_function(const char *method, const char *uri, const char *body, char **reply,
                             size_t *reply_length);
typedef int main_function(int argc, char **argv);

static void *library(const yaml_node_t *node, struct complaint *complaint) {
    static void *loaded;
    if (!loaded)
        loaded = dlopen(library_name, RTLD_NOW);
    if (!loaded)
        complain(complaint, node, "the module httpserver is not in this image (%s)", dlerror());
    return loaded;
}

static void *symbol(const char *name, const yaml_node_t *node, struct complaint *complaint) {
    void *loaded = library(node, complaint);
    void *found = loaded ? dlsym(loaded, name) : NULL;
    if (loaded && !found)
        complain(complaint, node, "%s", dlerror());
    return found;
}

bool rest_call(const char *method, const char *uri, const char *query, const yaml_node_t *node,
               struct complaint *complaint) {
    request_function *request = (request_function *)symbol("httpserver_request", node, complaint);
    if (!request)
        return false;
    char *target, *reply = NULL;
    size_t size = 0;
    if (asprintf(&target, "%s%s%s", uri, *query ? (strchr(uri, '?') ? "&" : "?") : "", query) < 0)
        return complain(complaint, node, "no memory");
    int status = request(method, target, NULL, &reply, &size);
    free(target);
    bool good = status == 200;
    if (!good)
        complain(complaint, node, "%s %s: %d %.*s", method, uri, status,
                 (int)(size < 300 ? size : 300), reply ? reply : "");
    free(reply);
    return good;
}

static void *serve(void *main_of_server) {
    static char name[] = "/libhttpserver-api.so";
    char *argv[] = {name, NULL};
    ((main_function *)main_of_server)(1, argv);
    return NULL;
}

// OSv's /open-rest-api: the server starts now, beside cloud-init, which then does not end.
static pthread_t server;
static bool serving;

bool rest_serve(const yaml_node_t *node, struct complaint *complaint) {
    void *main_of_server = serving ? NULL : symbol("main", node, complaint);
    if (serving)
        return true;
    if (!main_of_server)
        return false;
    if (pthread_create(&server, NULL, serve, main_of_server))
        return complain(complaint, node, "no memory for a thread");
    serving = true;
    return true;
}

void rest_wait(void) {
    if (serving)
        pthread_join(server, NULL);
}
