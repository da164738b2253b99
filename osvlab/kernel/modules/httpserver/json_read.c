// Reading JSON (RFC 8259): see json_read.h.
//
// Invariant: a decoded text is never longer than it was written, so decoding in place is safe.

#include "json_read.h"

#include <stdlib.h>
#include <string.h>

static void skip_blank(struct json_reader *r) {
    r->at += strspn(r->at, " \t\r\n");
}

static bool fail(struct json_reader *r) {
    return !(r->failed = true);
}

void json_read_begin(struct json_reader *r, char *text) {
    *r = (struct json_reader){.at = text};
}

bool json_read_open(struct json_reader *r, char bracket) {
    skip_blank(r);
    if (*r->at != bracket)
        return fail(r);
    r->at++;
    r->first = true;
    return true;
}

// At a place where a value, a comma or the end may stand.
static bool next(struct json_reader *r, char end) {
    skip_blank(r);
    if (*r->at == end) {
        r->at++;
        r->first = false;
        return false;
    }
    if (!r->first && *r->at++ != ',')
        return fail(r);
    r->first = false;
    skip_blank(r);
    return true;
}

bool json_read_next(struct json_reader *r) {
    return !r->failed && next(r, ']');
}

static bool read_code(const char *at, unsigned *code) {
    char digits[5] = "", *end;
    strncpy(digits, at, 4);
    *code = (unsigned)strtoul(digits, &end, 16);
    return end == digits + 4 && strspn(digits, "0123456789abcdefABCDEF") == 4;
}

static char *put_utf8(char *out, unsigned code) {
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(lead[more] | code >> 6 * more);
    while (more-- > 0)
        *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    return out;
}

// \uXXXX, or two of them that stand for one character. `at` is behind the u.
static const char *decode_unicode(const char *at, char **out) {
    unsigned code, low;
    if (!read_code(at, &code) || !code)
        return NULL;
    at += 4;
    if (code >= 0xd800 && code < 0xdc00 && at[0] == '\\' && at[1] == 'u' &&
        read_code(at + 2, &low) && low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    if (code >= 0xd800 && code < 0xe000)
        return NULL; // half of a pair
    *out = put_utf8(*out, code);
    return at;
}

static bool read_text(struct json_reader *r, char **text) {
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *at = r->at;
    char *out = r->at;
    if (*at++ != '"')
        return fail(r);
    for (*text = out; *at != '"';) {
        if ((unsigned char)*at < ' ')
            return fail(r);
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        const char *letter = at[1] ? strchr(letters, at[1]) : NULL;
        if (letter) {
            *out++ = values[letter - letters];
            at += 2;
        } else if (at[1] != 'u' || !(at = decode_unicode(at + 2, &out))) {
            return fail(r);
        }
    }
    r->at += at + 1 - r->at;
    *out = 0;
    return true;
}

static bool read_word(struct json_reader *r, char **value) {
    size_t length = strspn(r->at, "+-.0123456789abcdefghijklmnopqrstuvwxyzE");
    if (!length)
        return fail(r);
    *value = r->at - 1; // shifted onto the blank or colon before it, to make room for its end
    memmove(*value, r->at, length);
    (*value)[length] = 0;
    r->at += length;
    return true;
}

bool json_read_member(struct json_reader *r, char **key, char **value) {
    if (r->failed || !next(r, '}') || !read_text(r, key))
        return false;
    skip_blank(r);
    if (*r->at++ != ':')
        return fail(r);
    skip_blank(r);
    return *r->at == '"' ? read_text(r, value) : read_word(r, value);
}

bool json_read_end(struct json_reader *r) {
    if (!r->failed)
        skip_blank(r);
    return !r->failed && !*r->at;
}
