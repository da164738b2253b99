// Writing JSON (RFC 8259) in the style of OSv's server: {"key": value, "key": value}.
#pragma once

#include "buffer.h"

void json_open(struct buffer *out, char bracket); // { or [
void json_close(struct buffer *out, char bracket);
void json_key(struct buffer *out, const char *key);

void json_text(struct buffer *out, const char *text);
void json_bytes(struct buffer *out, const char *bytes, size_t count); // a text, with any bytes
void json_number(struct buffer *out, long long number);
void json_bool(struct buffer *out, bool value);
void json_raw(struct buffer *out, const char *value, size_t count); // is JSON already

void json_text_member(struct buffer *out, const char *key, const char *text);
void json_number_member(struct buffer *out, const char *key, long long number);
