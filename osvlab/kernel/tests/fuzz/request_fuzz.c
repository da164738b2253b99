// What the REST server takes apart: heads, targets, parameters, bodies in chunks and of several
// parts, JSON. The first byte of the input says which; what comes in pieces, comes in odd ones.

#include "fuzz.h"

#include <string.h>

#include "chunked.h"
#include "head.h"
#include "json_read.h"
#include "multipart.h"
#include "uri.h"

// A text of its own, so that the sanitizer sees one byte too many.
static char *text_of(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = 0;
    return text;
}

static void head(const uint8_t *data, size_t size) {
    char *bytes = memcpy(malloc(size + 1), data, size);
    struct head head;
    struct slice value;
    size_t scanned = 0, end = 0;
    for (size_t count = 0; count <= size && end == 0; count += 7)
        end = head_end(bytes, count, &scanned);
    must(end <= size);
    if (end > 0 && head_parse(bytes, end, &head) == 0) {
        must(head.target.at >= bytes && head.target.at + head.target.length <= bytes + end);
        must(head.field_count <= FIELD_LIMIT && !(head.has_length && head.chunked));
        head_find(&head, "content-type", &value);
    }
    free(bytes);
}

static void target(const uint8_t *data, size_t size) {
    char *text = text_of(data, size), *path, *query;
    struct parameters parameters = {0};
    if (uri_split(text, &path, &query)) {
        must(path[0] == '/' && !uri_climbs(path));
        if (parameters_parse(&parameters, query, strlen(query)) == 0)
            parameters_find(&parameters, "path");
        parameters_free(&parameters);
    }
    free(text);
}

static void chunks(const uint8_t *data, size_t size) {
    struct chunked chunked = {0};
    size_t done = 0, held;
    const char *bytes, *from = (const char *)data;
    while (done < size && chunked.state != CHUNK_DONE) {
        size_t piece = size - done < 11 ? size - done : 11;
        long taken = chunked_feed(&chunked, from + done, piece, &bytes, &held);
        if (taken < 0)
            return;
        must((size_t)taken <= piece && (taken > 0 || chunked.state == CHUNK_DONE));
        must(held <= (size_t)taken &&
             (held == 0 || (bytes >= from + done && bytes + held <= from + done + taken)));
        done += (size_t)taken;
    }
}

static int part_begin(void *argument, const char *name, const char *file_name) {
    must(strlen(name) < 128 && (file_name == NULL || strlen(file_name) < 256));
    return ++*(int *)argument > 100 ? 413 : 0;
}
static int part_data(void *argument, const char *bytes, size_t count) {
    must(*(int *)argument > 0 && count > 0 && bytes != NULL);
    return 0;
}
static int part_end(void *argument) {
    must(*(int *)argument > 0);
    return 0;
}

static void parts(const uint8_t *data, size_t size) {
    static const struct multipart_events events = {part_begin, part_data, part_end};
    static const char type[] = "multipart/form-data; boundary=b-b";
    static struct multipart multipart;
    int count = 0;
    // Half of the inputs bring their own boundary.
    size_t own = size > 0 && data[0] % 2 ? data[0] / 2 : 0;
    own = own < size ? own : size;
    if (!multipart_begin(&multipart, own > 0 ? (const char *)data : type,
                         own > 0 ? own : sizeof(type) - 1, &events, &count))
        return;
    for (size_t at = own; at < size; at += 13)
        if (multipart_feed(&multipart, (const char *)data + at, size - at < 13 ? size - at : 13) !=
            0)
            return;
    multipart_ended(&multipart);
}

static void json(const uint8_t *data, size_t size) {
    char *text = text_of(data, size), *key, *value;
    struct json_reader reader;
    json_read_begin(&reader, text);
    if (json_read_open(&reader, '['))
        while (json_read_next(&reader) && json_read_open(&reader, '{'))
            while (json_read_member(&reader, &key, &value))
                must(strlen(key) + strlen(value) <= size);
    json_read_end(&reader);
    free(text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parsers[])(const uint8_t *, size_t) = {head, target, chunks, parts, json};
    if (size == 0)
        return -1;
    parsers[data[0] % 5](data + 1, size - 1);
    return 0;
}
