// What the keys of a configuration do.
#pragma once

#include "document.h"

struct settings {
    bool skip_errors;
    unsigned included; // sources so far, which bounds how deep they may include each other
};

// Works a configuration off, key by key. False: at least one failed, which was said.
bool configuration_apply(const struct text *text, struct settings *settings);

// Sets the host name; the kernel tells it to the network's DHCP server.
bool hostname_set(const char *name, struct complaint *complaint);

// A request to the REST API, in this process: the routes are those of libhttpserver-api.so.
bool rest_call(const char *method, const char *uri, const char *query, const yaml_node_t *node,
               struct complaint *complaint);
bool rest_serve(const yaml_node_t *node, struct complaint *complaint); // starts the server
void rest_wait(void);                                                  // until it ends
