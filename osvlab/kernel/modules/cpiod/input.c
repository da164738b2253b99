// The stream that arrives: a buffer between read(2) and who wants some bytes of it.
//
// Invariant: begin <= end <= INPUT_SIZE; the bytes between were received and not yet taken.

#include "input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

const unsigned char *input_some(struct input *in, size_t most, size_t *size) {
    if (in->begin == in->end) {
        ssize_t got;
        do
            got = read(in->descriptor, in->bytes, sizeof(in->bytes));
        while (got < 0 && errno == EINTR);
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return NULL;
        }
        in->begin = 0;
        in->end = (size_t)got;
    }
    *size = least(most, in->end - in->begin);
    return in->bytes + in->begin;
}

void input_took(struct input *in, size_t size) {
    in->begin += size;
}

bool input_exactly(struct input *in, void *to, size_t size) {
    unsigned char *at = to;
    while (size) {
        size_t got;
        const unsigned char *some = input_some(in, size, &got);
        if (!some)
            return false;
        memcpy(at, some, got);
        input_took(in, got);
        at += got;
        size -= got;
    }
    return true;
}

bool input_skip(struct input *in, size_t size) {
    while (size) {
        size_t got;
        if (!input_some(in, size, &got))
            return false;
        input_took(in, got);
        size -= got;
    }
    return true;
}
