// Touching the application's memory, as user.h promises.
//
// Invariant: the only instructions that touch it are those of user_copy (arch/copy.S) and
// user_byte (arch/entry.S), where a fault that cannot be served means -EFAULT.

#include "user.h"

#include "memory.h"

int user_copy(void *to, const void *from, size_t size);
int user_byte(const u8 *from);

int user_read(void *to, const void *from_user, size_t size) {
    return user_copy(to, from_user, size);
}

int user_write(void *to_user, const void *from, size_t size) {
    return user_copy(to_user, from, size);
}

int user_clear(void *to_user, size_t size) {
    static const u8 zeros[512];

    for (size_t done = 0; done < size; done += sizeof(zeros)) {
        if (user_copy((u8 *)to_user + done, zeros, MIN(sizeof(zeros), size - done)) < 0)
            return -EFAULT;
    }
    return 0;
}

int user_string(char *to, const char *from_user, size_t size) {
    for (size_t i = 0; i < size; i++) {
        int byte = user_byte((const u8 *)from_user + i);
        if (byte < 0)
            return byte;
        to[i] = (char)byte;
        if (!byte)
            return (int)i;
    }
    return -ENAMETOOLONG;
}
