// The head of a request: see head.h.
//
// Invariant: a message has exactly one length that every reader of it must agree on (RFC 9112
// section 6.3 and 11.2, request smuggling). So what could be read in two ways is refused: two
// lengths, a length and chunks, an unknown coding, a bare CR, a blank before a colon, a folded
// line, two hosts.

#include "head.h"

#include <string.h>
#include <strings.h>

const char *const method_names[OTHER] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};

bool slice_is(struct slice slice, const char *text) {
    return slice.length == strlen(text) && !strncasecmp(slice.at, text, slice.length);
}

// Empty lines before a request are passed over (RFC 9112 section 2.2).
static size_t leading_blank(const char *bytes, size_t count) {
    size_t at = 0;
    while (at < count && (bytes[at] == '\r' || bytes[at] == '\n'))
        at++;
    return at;
}

size_t head_end(const char *bytes, size_t count, size_t *scanned) {
    size_t at = leading_blank(bytes, count);
    if (at < *scanned)
        at = *scanned;
    while (at < count) {
        const char *line = memchr(bytes + at, '\n', count - at);
        if (!line)
            break;
        size_t next = (size_t)(line - bytes) + 1;
        if (next < count && bytes[next] == '\n')
            return next + 1;
        if (next + 1 < count && bytes[next] == '\r' && bytes[next + 1] == '\n')
            return next + 2;
        if (next + 1 >= count) { // undecided: look here again
            *scanned = next - 1;
            return 0;
        }
        at = next;
    }
    *scanned = count;
    return 0;
}

static bool is_token(struct slice text) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr(others, c)))
            return false;
    }
    return text.length > 0;
}

static struct slice trim(struct slice text) {
    while (text.length && (*text.at == ' ' || *text.at == '\t'))
        text.at++, text.length--;
    while (text.length && (text.at[text.length - 1] == ' ' || text.at[text.length - 1] == '\t'))
        text.length--;
    return text;
}

// Takes a line off the front. False: there is none, or it has a control character.
static bool take_line(struct slice *from, struct slice *line) {
    const char *end = memchr(from->at, '\n', from->length);
    if (!end)
        return false;
    *line = (struct slice){from->at, (size_t)(end - from->at)};
    from->length -= line->length + 1;
    from->at = end + 1;
    if (line->length && line->at[line->length - 1] == '\r')
        line->length--;
    for (size_t i = 0; i < line->length; i++)
        if (((unsigned char)line->at[i] < ' ' && line->at[i] != '\t') || line->at[i] == 0x7f)
            return false;
    return true;
}

// Takes what stands before the first `mark`.
static bool take_until(struct slice *from, char mark, struct slice *out) {
    const char *end = memchr(from->at, mark, from->length);
    if (!end)
        return false;
    *out = (struct slice){from->at, (size_t)(end - from->at)};
    from->length -= out->length + 1;
    from->at = end + 1;
    return true;
}

static int parse_request_line(struct slice line, struct head *out) {
    struct slice method;
    if (!take_until(&line, ' ', &method) || !is_token(method) ||
        !take_until(&line, ' ', &out->target) || !out->target.length)
        return 400;
    if (line.length != 8 || strncmp(line.at, "HTTP/", 5) || line.at[6] != '.')
        return 400;
    if (line.at[5] != '1' || line.at[7] < '0' || line.at[7] > '9')
        return 505;
    if (out->target.length > TARGET_LIMIT)
        return 414;
    out->minor = line.at[7] - '0';
    out->method = GET;
    while (out->method < OTHER && (strlen(method_names[out->method]) != method.length ||
                                   strncmp(method.at, method_names[out->method], method.length)))
        out->method++; // methods are case-sensitive
    return 0;
}

static int parse_length(struct slice text, struct head *out) {
    if (out->has_length || !text.length || text.length > 18)
        return 400;
    out->has_length = true;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return 400;
        out->length = out->length * 10 + (uint64_t)(text.at[i] - '0');
    }
    return 0;
}

static void parse_connection(struct slice list, struct head *out) {
    while (list.length) {
        struct slice word;
        if (!take_until(&list, ',', &word)) {
            word = list;
            list.length = 0;
        }
        word = trim(word);
        if (slice_is(word, "close"))
            out->keep_alive = false;
        else if (slice_is(word, "keep-alive") && !out->minor)
            out->keep_alive = true;
    }
}

static int note_field(const struct field *field, struct head *out, int *hosts) {
    if (slice_is(field->name, "content-length"))
        return parse_length(field->value, out);
    if (slice_is(field->name, "transfer-encoding")) {
        if (out->chunked || !out->minor)
            return 400;
        out->chunked = true;
        return slice_is(field->value, "chunked") ? 0 : 501;
    }
    if (slice_is(field->name, "connection"))
        parse_connection(field->value, out);
    else if (slice_is(field->name, "host"))
        ++*hosts;
    else if (slice_is(field->name, "expect") && out->minor) {
        if (!slice_is(field->value, "100-continue"))
            return 417;
        out->expects_continue = true;
    }
    return 0;
}

static int parse_field(struct slice line, struct field *out) {
    if (!take_until(&line, ':', &out->name) || !is_token(out->name))
        return 400; // also a folded line, which begins with a blank
    out->value = trim(line);
    return 0;
}

int head_parse(const char *bytes, size_t count, struct head *out) {
    size_t skipped = leading_blank(bytes, count);
    struct slice rest = {bytes + skipped, count - skipped}, line;
    int status, hosts = 0;
    memset(out, 0, sizeof(*out));
    if (!take_line(&rest, &line))
        return 400;
    if ((status = parse_request_line(line, out)))
        return status;
    out->keep_alive = out->minor > 0;
    for (;;) {
        struct field field;
        if (!take_line(&rest, &line))
            return 400;
        if (!line.length)
            break;
        if (out->field_count == FIELD_LIMIT)
            return 431;
        if ((status = parse_field(line, &field)) || (status = note_field(&field, out, &hosts)))
            return status;
        out->fields[out->field_count++] = field;
    }
    if (hosts > 1 || (!hosts && out->minor) || (out->has_length && out->chunked))
        return 400;
    return 0;
}

bool head_find(const struct head *head, const char *name, struct slice *out) {
    for (size_t i = 0; i < head->field_count; i++)
        if (slice_is(head->fields[i].name, name)) {
            *out = head->fields[i].value;
            return true;
        }
    return false;
}
