// An exchange: a request on a connection and the reply to it. It exists from the end of the
// request's head until the reply has been sent.
#pragma once

#include "call.h"
#include "chunked.h"

struct exchange {
    struct call call;
    char *text; // the head as it came, which the slices point into
    struct head head;
    struct chunked chunked;
    uint64_t left;     // of a body with a length
    uint64_t received; // of the body
    bool body_done;
    bool close; // the connection ends with this exchange
    struct buffer out;
    size_t sent; // of `out` and the body of the reply
};

// Begins with a whole head. NULL: no memory.
struct exchange *exchange_begin(const char *head, size_t count);
// An exchange that is only a reply, to what is no request.
struct exchange *exchange_refuse(int status, const char *why);

// The body, as it comes. How many bytes were taken. `body_done` says that it needs no more.
size_t exchange_feed(struct exchange *exchange, const char *bytes, size_t count);

// Makes the reply, once the body is done.
void exchange_reply(struct exchange *exchange);
void exchange_free(struct exchange *exchange);
