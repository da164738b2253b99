// What other programs of the guest may call in this library.
#pragma once

#include <stddef.h>

// Serves one request in the calling process, without a network. `body` is a form (a=b&c=d) or
// NULL. Returns the HTTP status; *reply is the reply's body, to be freed, or NULL if there was no
// memory for it.
int httpserver_request(const char *method, const char *uri, const char *body, char **reply,
                       size_t *reply_length);
