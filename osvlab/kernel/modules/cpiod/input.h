// The stream that arrives, read in large pieces.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define INPUT_SIZE 65536

struct input {
    int descriptor;
    size_t begin, end; // what of `bytes` is still to be taken
    unsigned char bytes[INPUT_SIZE];
};

// Makes at least one byte available and gives all that are, or NULL with errno: 0 at the end of
// the stream. They count as taken after input_took.
const unsigned char *input_some(struct input *in, size_t most, size_t *size);
void input_took(struct input *in, size_t size);

// Exactly `size` bytes. False as above; a stream that ends in the middle is its end.
bool input_exactly(struct input *in, void *to, size_t size);
bool input_skip(struct input *in, size_t size);
