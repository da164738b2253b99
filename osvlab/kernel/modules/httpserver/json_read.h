// Reading JSON: a list of objects whose members are texts, which is all that a batch is.
#pragma once

#include <stdbool.h>

struct json_reader {
    char *at; // in a text that is changed while it is read
    bool first, failed;
};

void json_read_begin(struct json_reader *reader, char *text);
bool json_read_open(struct json_reader *reader, char bracket); // { or [
bool json_read_next(struct json_reader *reader);               // of a list: is there another value?
// The next member of an object. Values are texts, decoded in place; a number, true, false and null
// stay as they are written. False: the object has ended, or `failed`.
bool json_read_member(struct json_reader *reader, char **key, char **value);
bool json_read_end(struct json_reader *reader); // nothing follows and nothing was wrong
