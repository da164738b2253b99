// A call: one request on its way through a route, and its reply.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "head.h"
#include "json.h"
#include "multipart.h"
#include "uri.h"

#define REPLY_LIMIT (8UL << 20) // of a reply that is made in memory
#define KEPT_BODY_LIMIT (256UL << 10)

struct call;

enum body_use {
    BODY_FORM,   // parameters, if it is a form; anything else is passed over
    BODY_FIELD,  // multipart: the field `batch`; or a form
    BODY_UPLOAD, // a file: the first of a multipart body, or the body itself
};

// One row of the table that requests are served from and /api-doc is written from.
struct route {
    enum method method;
    const char *path;       // without a slash at the end; {name} at the end takes the rest
    const char *parameters; // "name:type name*:type": * is mandatory; string long boolean
    const char *returns;    // type of the reply
    const char *summary;
    void (*handle)(struct call *call);
    enum body_use body;
};

struct reply {
    int status;
    const char *type; // Content-Type; NULL: the body is JSON
    struct buffer body, fields;
    int file; // this much of it follows the body; -1: none
    uint64_t file_at, file_left;
    void (*afterwards)(void); // when the reply has been sent and the connection closed
};

// Where an upload goes: beside its target under another name, until it is whole.
struct upload {
    int descriptor; // -1: none
    char *temporary, *target;
    bool taken; // there was a file in the body
    bool done;  // and it is whole
};

struct call {
    enum method method;
    const struct route *route;
    char *target;   // owned; path and query point into it
    char *captured; // owned: what {name} stands for, decoded
    struct parameters form, query;
    bool ends_with_slash;
    struct slice range; // of the head, as it was sent; empty if it was not
    char *host;         // owned; NULL if it was not sent
    struct buffer kept; // the part of a body that is kept in memory
    struct multipart *multipart;
    bool in_field;
    struct upload upload;
    bool nested; // made by another call
    struct reply reply;
};

void call_init(struct call *call);
void call_free(struct call *call); // takes back an upload that is not whole

// Finds the route and checks the parameters of the query. False: the reply says why not.
bool call_route(struct call *call, enum method method, const char *target, size_t length);
void call_run(struct call *call);

// The body. Each gives 0 or an HTTP status.
int body_begin(struct call *call, struct slice type);
int body_feed(struct call *call, const char *bytes, size_t count);
int body_end(struct call *call);

// Parameters of query or form; the form counts more.
const char *call_parameter(const struct call *call, const char *name);
// With `otherwise` if it is not given. False: it is no such value, and the reply says so.
bool call_bool(struct call *call, const char *name, bool otherwise, bool *out);
bool call_number(struct call *call, const char *name, long long otherwise, long long *out);

// Replies. An error takes back what was written before.
__attribute__((format(printf, 3, 4))) void reply_error(struct call *call, int status,
                                                       const char *format, ...);
void reply_errno(struct call *call, int error, const char *what); // with the status that fits
void reply_text(struct call *call, const char *text);
void reply_number(struct call *call, long long number);
void reply_nothing(struct call *call); // ""
void reply_empty(struct call *call);   // no bytes at all
const char *reply_reason(int status);
