// Exchanges: see exchange.h. Framing and semantics are those of RFC 9110 and 9112, origins those of
// the Fetch standard (CORS), tokens those of RFC 6750.
//
// Invariant: a reply can be made before the body has been read (`body_done` with `close`): then
// the connection ends with it, because what follows on it is not a request.

#include "exchange.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "settings.h"

static void refuse(struct exchange *x, int status, const char *why) {
    reply_error(&x->call, status, "%s", why);
    x->body_done = x->close = true;
}

static struct exchange *exchange_new(void) {
    struct exchange *x = calloc(1, sizeof(*x));
    if (x)
        call_init(&x->call);
    return x;
}

struct exchange *exchange_refuse(int status, const char *why) {
    struct exchange *x = exchange_new();
    if (x)
        refuse(x, status, why);
    return x;
}

// Takes the same time for every wrong token of one length.
static bool same_text(struct slice given, const char *wanted) {
    size_t length = strlen(wanted);
    volatile unsigned char difference = given.length != length;
    for (size_t i = 0; i < given.length; i++)
        difference |= (unsigned char)given.at[i] ^ (unsigned char)wanted[length ? i % length : 0];
    return !difference;
}

static bool is_authorised(const struct head *head) {
    static const char scheme[] = "Bearer ";
    struct slice given;
    if (!settings.token || head->method == OPTIONS)
        return true;
    if (!head_find(head, "authorization", &given) || given.length < sizeof(scheme) - 1 ||
        !slice_is((struct slice){given.at, sizeof(scheme) - 1}, scheme))
        return false;
    given.at += sizeof(scheme) - 1;
    given.length -= sizeof(scheme) - 1;
    return same_text(given, settings.token);
}

static bool body_fits(const struct exchange *x) {
    uint64_t limit = settings.body_limit;
    if (x->call.route->body != BODY_UPLOAD && limit > KEPT_BODY_LIMIT)
        limit = KEPT_BODY_LIMIT;
    return x->received <= limit && x->left <= limit;
}

static void fail_body(struct exchange *x, int status) {
    if (x->call.reply.status != status) // else it has been said in detail
        reply_error(&x->call, status, "%s",
                    status == 400 ? "The body cannot be parsed" : reply_reason(status));
    x->body_done = x->close = true;
}

static void end_body(struct exchange *x) {
    int status = body_end(&x->call);
    bool close = x->close;
    x->body_done = true;
    if (status)
        fail_body(x, status);
    x->close = close; // the body has been read, so the connection can go on
}

static void prepare_body(struct exchange *x) {
    struct slice type = {NULL, 0};
    head_find(&x->head, "content-type", &type);
    if (!body_fits(x)) {
        refuse(x, 413, "The body is too large");
        return;
    }
    int status = body_begin(&x->call, type);
    if (status)
        fail_body(x, status);
    else if (!x->head.chunked && !x->left)
        end_body(x);
}

// A request that is not served: where its body ends is not looked for.
static void without_route(struct exchange *x) {
    x->body_done = true;
    x->close = x->close || x->head.chunked || x->left;
}

struct exchange *exchange_begin(const char *head, size_t count) {
    struct exchange *x = exchange_new();
    struct slice host;
    if (!x || !(x->text = malloc(count))) {
        free(x);
        return NULL;
    }
    memcpy(x->text, head, count);
    int status = head_parse(x->text, count, &x->head);
    if (status) {
        refuse(x, status, reply_reason(status));
        return x;
    }
    x->close = !x->head.keep_alive;
    x->left = x->head.length;
    x->call.method = x->head.method;
    head_find(&x->head, "range", &x->call.range);
    if (head_find(&x->head, "host", &host))
        x->call.host = strndup(host.at, host.length);
    if (!is_authorised(&x->head)) {
        refuse(x, 401, "A token is needed");
        buffer_text(&x->call.reply.fields, "WWW-Authenticate: Bearer realm=\"osvlab\"\r\n");
    } else if (call_route(&x->call, x->head.method, x->head.target.at, x->head.target.length)) {
        prepare_body(x);
    } else {
        without_route(x);
    }
    return x;
}

static size_t feed_chunks(struct exchange *x, const char *bytes, size_t count) {
    size_t at = 0;
    while (at < count && !x->body_done) {
        const char *data;
        size_t data_count;
        long taken = chunked_feed(&x->chunked, bytes + at, count - at, &data, &data_count);
        if (taken < 0) {
            fail_body(x, 400);
            break;
        }
        at += (size_t)taken;
        x->received += data_count;
        int status = !body_fits(x) ? 413 : data_count ? body_feed(&x->call, data, data_count) : 0;
        if (status)
            fail_body(x, status);
        else if (x->chunked.state == CHUNK_DONE)
            end_body(x);
    }
    return at;
}

size_t exchange_feed(struct exchange *x, const char *bytes, size_t count) {
    if (x->head.chunked)
        return feed_chunks(x, bytes, count);
    if (count > x->left)
        count = (size_t)x->left;
    int status = body_feed(&x->call, bytes, count);
    x->left -= count;
    if (status)
        fail_body(x, status);
    else if (!x->left)
        end_body(x);
    return count;
}

static bool origin_allowed(struct slice origin) {
    const char *at = settings.access_allow;
    while (*at) {
        size_t length = strcspn(at, ",");
        if (length == origin.length && !strncmp(at, origin.at, length))
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

static void add_origin(struct exchange *x) {
    struct buffer *out = &x->out;
    struct slice origin;
    bool all = !strcmp(settings.access_allow, "*");
    if (!*settings.access_allow)
        return;
    if (!all)
        buffer_text(out, "Vary: Origin\r\n");
    if (!head_find(&x->head, "origin", &origin) || (!all && !origin_allowed(origin)))
        return;
    if (all)
        origin = (struct slice){"*", 1};
    buffer_format(out, "Access-Control-Allow-Origin: %.*s\r\n", (int)origin.length, origin.at);
    if (x->head.method == OPTIONS)
        buffer_text(out, "Access-Control-Allow-Methods: GET, POST, PUT, OPTIONS, DELETE\r\n"
                         "Access-Control-Allow-Headers: Authorization, Content-Type, Range\r\n"
                         "Access-Control-Max-Age: 1000\r\n");
}

static void add_date(struct buffer *out) {
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static time_t last;
    static char text[64];
    time_t now = time(NULL);
    struct tm t;
    if (now != last && gmtime_r(&now, &t)) {
        struct buffer line = {0};
        buffer_format(&line, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n",
                      days + 3 * t.tm_wday, t.tm_mday, months + 3 * t.tm_mon, t.tm_year + 1900,
                      t.tm_hour, t.tm_min, t.tm_sec);
        if (!line.failed && line.used < sizeof(text)) {
            memcpy(text, line.bytes, line.used + 1);
            last = now;
        }
        buffer_free(&line);
    }
    buffer_text(out, text);
}

void exchange_reply(struct exchange *x) {
    struct reply *reply = &x->call.reply;
    if (reply->status == 200 && x->call.route)
        call_run(&x->call);
    struct buffer *out = &x->out;
    buffer_format(out, "HTTP/1.1 %d %s\r\n", reply->status, reply_reason(reply->status));
    add_date(out);
    if (reply->body.used || reply->file >= 0)
        buffer_format(out, "Content-Type: %s\r\n", reply->type ? reply->type : "application/json");
    buffer_format(out, "Content-Length: %llu\r\n",
                  (unsigned long long)(reply->body.used + reply->file_left));
    if (x->close)
        buffer_text(out, "Connection: close\r\n");
    else if (!x->head.minor)
        buffer_text(out, "Connection: keep-alive\r\n");
    add_origin(x);
    buffer_add(out, reply->fields.bytes, reply->fields.used);
    buffer_text(out, "\r\n");
    if (x->head.method == HEAD) { // everything but the body
        buffer_free(&reply->body);
        reply->file_left = 0;
    }
}

void exchange_free(struct exchange *x) {
    call_free(&x->call);
    buffer_free(&x->out);
    free(x->text);
    free(x);
}
