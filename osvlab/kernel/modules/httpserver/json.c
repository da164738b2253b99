// Writing JSON: see json.h.
//
// Invariant: whether a comma is due can be seen from the last byte. A value never ends with a
// bracket that opens, nor with a blank; a key does end with a blank.
// Texts become valid Unicode: bytes that are no UTF-8 (RFC 3629) are replaced by U+FFFD.

#include "json.h"

#include <string.h>

static void separate(struct buffer *out) {
    char last = out->used ? out->bytes[out->used - 1] : '[';
    if (last != '[' && last != '{' && last != ' ')
        buffer_add(out, ", ", 2);
}

void json_open(struct buffer *out, char bracket) {
    separate(out);
    buffer_add(out, &bracket, 1);
}

void json_close(struct buffer *out, char bracket) {
    buffer_add(out, &bracket, 1);
}

void json_key(struct buffer *out, const char *key) {
    json_text(out, key);
    buffer_add(out, ": ", 2);
}

// How many bytes the character takes that begins here; 0: it is none.
static size_t character(const unsigned char *at, size_t left) {
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    if (*at > 0xf4 || length > left)
        return 0;
    unsigned code = length > 1 ? *at & (0x7f >> length) : 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (length > 1 && (code < least[length] || code > 0x10ffff || (code >> 11) == 0x1b))
        return 0;
    return length;
}

static void escape(struct buffer *out, unsigned char c) {
    static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
    const char *letter = memchr(letters, c, sizeof(letters) - 1);
    if (letter)
        buffer_add(out, (char[]){'\\', escapes[letter - letters]}, 2);
    else
        buffer_format(out, "\\u%04x", c);
}

void json_bytes(struct buffer *out, const char *bytes, size_t count) {
    const unsigned char *at = (const unsigned char *)bytes, *end = at + count;
    separate(out);
    buffer_add(out, "\"", 1);
    while (at < end) {
        const unsigned char *plain = at;
        size_t length = 0;
        while (at < end && *at >= ' ' && *at != '"' && *at != '\\' &&
               (length = character(at, (size_t)(end - at))))
            at += length;
        buffer_add(out, plain, (size_t)(at - plain));
        if (at == end)
            break;
        if (*at < 0x80)
            escape(out, *at);
        else
            buffer_text(out, "\xef\xbf\xbd");
        at++;
    }
    buffer_add(out, "\"", 1);
}

void json_text(struct buffer *out, const char *text) {
    json_bytes(out, text, strlen(text));
}

void json_number(struct buffer *out, long long number) {
    separate(out);
    buffer_format(out, "%lld", number);
}

void json_bool(struct buffer *out, bool value) {
    separate(out);
    buffer_text(out, value ? "true" : "false");
}

void json_raw(struct buffer *out, const char *value, size_t count) {
    separate(out);
    buffer_add(out, value, count);
}

void json_text_member(struct buffer *out, const char *key, const char *text) {
    json_key(out, key);
    json_text(out, text);
}

void json_number_member(struct buffer *out, const char *key, long long number) {
    json_key(out, key);
    json_number(out, number);
}
