// The parsers of the REST server, by themselves: whatever way a message is cut into pieces, what
// is understood must be the same, and nonsense must only be refused.
// Arguments: a seed, and how many times.

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chunked.h"
#include "head.h"
#include "json.h"
#include "json_read.h"
#include "multipart.h"
#include "uri.h"

static uint64_t state;

static unsigned chance(unsigned below) { // xorshift*
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (unsigned)((state * 2685821657736338717UL) >> 33) % below;
}

// A copy of exactly that size, so that the sanitizer sees the smallest step too far.
static char *exact(const char *bytes, size_t count) {
    char *copy = malloc(count ? count : 1);
    memcpy(copy, bytes, count);
    return copy;
}

static size_t mutate(char *bytes, size_t count, size_t room) {
    static const char nasty[] = "\r\n \t:;%&=-\"\\{}[],u0aF\xff\xc3";
    for (unsigned i = chance(5); i-- > 0 && count;) {
        size_t at = chance((unsigned)count);
        if (chance(3) == 0 && count < room) {
            memmove(bytes + at + 1, bytes + at, count - at);
            count++;
        } else if (chance(4) == 0) {
            memmove(bytes + at, bytes + at + 1, count - at - 1);
            count--;
            continue;
        }
        bytes[at] = chance(2) ? nasty[chance(sizeof(nasty))] : (char)chance(256);
    }
    return count;
}

static const char head_text[] =
    "\r\nPOST /a/b?c=d%20e HTTP/1.1\r\nHost: somewhere:80\r\nContent-Length: 12\r\n"
    "Connection: keep-alive, close\r\nExpect: 100-continue\r\nX-Empty:\r\n\r\nbody";

static void try_head(const char *bytes, size_t count) {
    size_t scanned = 0, end = 0, at_once = 0, fresh = 0;
    char *copy = exact(bytes, count);
    at_once = head_end(copy, count, &fresh);
    for (size_t i = 1; i <= count && !end; i++) {
        char *part = exact(bytes, i);
        end = head_end(part, i, &scanned);
        free(part);
    }
    assert(end == at_once);
    if (end) {
        struct head head;
        char *text = exact(bytes, end);
        int status = head_parse(text, end, &head);
        assert(!status || (status >= 400 && status <= 505));
        assert(status || !(head.chunked && head.has_length));
        free(text);
    }
    free(copy);
}

static void test_head(unsigned times) {
    struct head head;
    struct slice value;
    size_t scanned = 0, end = head_end(head_text, sizeof(head_text) - 1, &scanned);
    assert(end == sizeof(head_text) - 5);
    assert(!head_parse(head_text, end, &head));
    assert(head.method == POST && head.minor == 1 && head.has_length && head.length == 12);
    assert(!head.keep_alive && head.expects_continue && head.field_count == 5);
    assert(slice_is(head.target, "/a/b?c=d%20e"));
    assert(head_find(&head, "HOST", &value) && slice_is(value, "somewhere:80"));
    assert(head_find(&head, "x-empty", &value) && !value.length);
    assert(!head_find(&head, "x-emp", &value));
    for (unsigned i = 0; i < times; i++) {
        char bytes[512];
        memcpy(bytes, head_text, sizeof(head_text) - 1);
        try_head(bytes, mutate(bytes, sizeof(head_text) - 1, sizeof(bytes)));
    }
}

// Feeds chunks in random pieces. The number of bytes of the body, or -1.
static long feed_chunks(const char *bytes, size_t count, char *body, bool *done) {
    struct chunked chunked = {0};
    size_t at = 0, used = 0;
    while (at < count && chunked.state != CHUNK_DONE) {
        const char *data = NULL;
        size_t data_count, piece = 1 + chance((unsigned)(count - at));
        char *copy = exact(bytes + at, piece);
        long taken = chunked_feed(&chunked, copy, piece, &data, &data_count);
        if (taken < 0) {
            free(copy);
            return -1;
        }
        assert((size_t)taken <= piece && data_count <= (size_t)taken);
        memcpy(body + used, data_count ? data : "", data_count);
        used += data_count;
        at += (size_t)taken;
        free(copy);
    }
    *done = chunked.state == CHUNK_DONE;
    return (long)used;
}

static void test_chunked(unsigned times) {
    static const char text[] =
        "5;x=\"y\"\r\nhello\r\n1 \r\n,\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n";
    for (unsigned i = 0; i < times; i++) {
        char bytes[256], first[256], second[256];
        bool done, again;
        memcpy(bytes, text, sizeof(text) - 1);
        long count = feed_chunks(bytes, sizeof(text) - 1, first, &done);
        assert(done && count == 16 && !memcmp(first, "hello,0123456789", 16));
        size_t size = mutate(bytes, sizeof(text) - 1, sizeof(bytes));
        done = again = false;
        count = feed_chunks(bytes, size, first, &done);
        assert(count == feed_chunks(bytes, size, second, &again) && done == again);
        assert(count <= 0 || !memcmp(first, second, (size_t)count));
    }
}

struct parts {
    char text[2048];
    size_t used;
};

static void note(struct parts *parts, const char *bytes, size_t count) {
    assert(parts->used + count <= sizeof(parts->text));
    memcpy(parts->text + parts->used, bytes, count);
    parts->used += count;
}

static int part_begins(void *argument, const char *name, const char *file_name) {
    note(argument, "<", 1);
    note(argument, name, strlen(name));
    note(argument, "|", 1);
    note(argument, file_name ? file_name : "-", file_name ? strlen(file_name) : 1);
    note(argument, ">", 1);
    return 0;
}

static int part_data(void *argument, const char *bytes, size_t count) {
    assert(count);
    note(argument, bytes, count);
    return 0;
}

static int part_ends(void *argument) {
    note(argument, ".", 1);
    return 0;
}

static const struct multipart_events events = {part_begins, part_data, part_ends};

static int feed_parts(const char *bytes, size_t count, struct parts *out) {
    static const char type[] = "multipart/form-data; charset=\"a;b\"; boundary=\"bound\"";
    struct multipart multipart;
    int status = 0;
    out->used = 0;
    assert(multipart_begin(&multipart, type, sizeof(type) - 1, &events, out));
    for (size_t at = 0; at < count && !status;) {
        size_t piece = 1 + chance((unsigned)(count - at));
        char *copy = exact(bytes + at, piece);
        status = multipart_feed(&multipart, copy, piece);
        free(copy);
        at += piece;
    }
    return status ? status : multipart_ended(&multipart) ? 0 : -1;
}

static void test_multipart(unsigned times) {
    static const char text[] = "preamble\r\n--bound\r\nContent-Disposition: form-data; "
                               "name=\"a\"\r\n\r\none\r\n--boun\r\r\n"
                               "--bound \r\ncontent-disposition: form-data; filename=\"x "
                               "\\\"y\\\";z\"; name=b;\r\nX: y\r\n\r\n"
                               "\r\n--bound--\r\nepilogue";
    static const char expected[] = "<a|->one\r\n--boun\r.<b|x \"y\";z>.";
    struct multipart unused;
    assert(!multipart_begin(&unused, "multipart/form-data", 19, &events, NULL));
    assert(!multipart_begin(&unused, "multipart/form-data; boundary=", 30, &events, NULL));
    assert(!multipart_begin(&unused, "text/plain; boundary=x", 22, &events, NULL));
    for (unsigned i = 0; i < times; i++) {
        char bytes[1024];
        struct parts first, second;
        memcpy(bytes, text, sizeof(text) - 1);
        assert(!feed_parts(bytes, sizeof(text) - 1, &first));
        assert(first.used == sizeof(expected) - 1 && !memcmp(first.text, expected, first.used));
        size_t size = mutate(bytes, sizeof(text) - 1, sizeof(bytes));
        int status = feed_parts(bytes, size, &first);
        assert(feed_parts(bytes, size, &second) == status);
        assert(status > 0 ||
               (first.used == second.used && !memcmp(first.text, second.text, first.used)));
    }
}

static void test_uri(unsigned times) {
    char target[] = "http://host:80/a%20b//?x=1&y";
    char *path, *query;
    struct parameters parameters;
    assert(uri_split(target, &path, &query) && !strcmp(path, "/a%20b/") && !strcmp(query, "x=1&y"));
    assert(uri_decode(path, false) && !strcmp(path, "/a b/"));
    static const char pairs[] = "a=1+2&&b=%26%3D&a=3&c&=d&e=f=g";
    assert(!parameters_parse(&parameters, pairs, sizeof(pairs) - 1));
    assert(!strcmp(parameters_find(&parameters, "a"), "1 2"));
    assert(!strcmp(parameters_find(&parameters, "b"), "&="));
    assert(!strcmp(parameters_find(&parameters, "c"), ""));
    assert(!strcmp(parameters_find(&parameters, "e"), "f=g") && !parameters_find(&parameters, "d"));
    parameters_free(&parameters);
    assert(uri_climbs("..") && uri_climbs("/a/..") && uri_climbs("../a") && uri_climbs("/a/../b"));
    assert(!uri_climbs("...") && !uri_climbs("/a..") && !uri_climbs("/..a/b") && !uri_climbs("/"));
    for (unsigned i = 0; i < times; i++) {
        char bytes[128];
        memcpy(bytes, pairs, sizeof(pairs) - 1);
        size_t size = mutate(bytes, sizeof(pairs) - 1, sizeof(bytes));
        char *copy = exact(bytes, size);
        int status = parameters_parse(&parameters, copy, size);
        assert(!status || status == 400);
        parameters_free(&parameters);
        free(copy);
    }
}

static void expect_json(const char *bytes, size_t count, const char *expected) {
    struct buffer out = {0};
    json_bytes(&out, bytes, count);
    assert(out.used == strlen(expected) && !memcmp(out.bytes, expected, out.used));
    buffer_free(&out);
}

static void test_json(unsigned times) {
    struct buffer out = {.limit = 64};
    json_open(&out, '{');
    json_text_member(&out, "a", "b");
    json_key(&out, "l");
    json_open(&out, '[');
    json_number(&out, -1);
    json_bool(&out, true);
    json_open(&out, '{');
    json_close(&out, '}');
    json_close(&out, ']');
    json_close(&out, '}');
    static const char expected[] = "{\"a\": \"b\", \"l\": [-1, true, {}]}";
    assert(out.used == sizeof(expected) - 1 && !memcmp(out.bytes, expected, out.used));
    for (int i = 0; i < 10; i++)
        json_text_member(&out, "too", "long");
    assert(out.failed && out.used <= 64);
    buffer_free(&out);
    expect_json("\"\\\n\x01\x7f", 5, "\"\\\"\\\\\\n\\u0001\x7f\"");
    expect_json("\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\"");
#define BAD "\xef\xbf\xbd"
    expect_json("\xc3", 1, "\"" BAD "\"");
    expect_json("\xc0\x80", 2, "\"" BAD BAD "\"");
    expect_json("\xed\xa0\x80x", 4, "\"" BAD BAD BAD "x\"");
    expect_json("\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\"");
    static const char batch[] = " [ {\"method\" : \"G\\u0045T\", \"n\": 12, \"relative_url\": "
                                "\"\\/\\ud83d\\ude00\\n\"}, {}] ";
    for (unsigned i = 0; i < times; i++) {
        char bytes[256], *key, *value;
        struct json_reader reader;
        memcpy(bytes, batch, sizeof(batch) - 1);
        size_t size = i ? mutate(bytes, sizeof(batch) - 1, sizeof(bytes) - 1) : sizeof(batch) - 1;
        char *copy = exact(bytes, size + 1);
        copy[size] = 0;
        json_read_begin(&reader, copy);
        json_read_open(&reader, '[');
        while (json_read_next(&reader) && json_read_open(&reader, '{'))
            while (json_read_member(&reader, &key, &value)) {
                assert(strlen(key) + strlen(value) <= size);
                assert(i || strcmp(key, "method") || !strcmp(value, "GET"));
                assert(i || strcmp(key, "n") || !strcmp(value, "12"));
                assert(i || strcmp(key, "relative_url") || !strcmp(value, "/\xf0\x9f\x98\x80\n"));
            }
        assert(i || json_read_end(&reader));
        free(copy);
    }
}

int main(int argc, char **argv) {
    assert(argc == 3);
    state = strtoull(argv[1], NULL, 10) | 1;
    unsigned times = (unsigned)atoi(argv[2]);
    test_head(times);
    test_chunked(times);
    test_multipart(times);
    test_uri(times);
    test_json(times);
    puts("parsed as it should");
    return 0;
}
