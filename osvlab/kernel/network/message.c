// Messages: the pieces of an application's memory that a protocol reads from or writes to.
//
// Invariant: `done` bytes have been moved; where the next byte is follows from it. A message of one
// piece, the most frequent kind, is found at once.

#include "socket_layer.h"

#include "user.h"

void message_init(struct message *message, const struct iovec *pieces, size_t count, int flags) {
    message->pieces = pieces;
    message->count = count;
    message->size = message->done = 0;
    message->flags = flags;
    message->flags_out = 0;
    message->address_size = 0; // the address itself, 128 bytes, stays as it is
    message->control = NULL;
    for (size_t i = 0; i < count; i++)
        message->size += pieces[i].iov_len;
}

// The memory at `done`, in one piece.
static u8 *next_piece(const struct message *message, size_t *size) {
    size_t skip = message->done;
    const struct iovec *piece = message->pieces;
    while (skip >= piece->iov_len)
        skip -= piece++->iov_len;
    *size = MIN(*size, piece->iov_len - skip);
    return (u8 *)piece->iov_base + skip;
}

static int move(struct message *message, u8 *kernel, size_t size, bool in) {
    for (size = MIN(size, message_left(message)); size > 0;) {
        size_t length = size;
        u8 *user = next_piece(message, &length);
        int status = in ? user_read(kernel, user, length) : user_write(user, kernel, length);
        if (status < 0)
            return status;
        message->done += length;
        kernel += length;
        size -= length;
    }
    return 0;
}

int message_read(struct message *message, void *to, size_t size) {
    return move(message, to, size, true);
}

int message_write(struct message *message, const void *from, size_t size) {
    return move(message, (u8 *)from, size, false);
}
