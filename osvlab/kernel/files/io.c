// Reading and writing: read, write and their vector and positioned forms, lseek, and copies
// between files.
//
// Invariant: the position of a file moves under the file's lock, so that two threads that read
// one descriptor get different bytes, and the pieces of a vector stay together. Streams have no position and take no lock: one thread can
// write to a terminal while another waits for its input.

#include "vnode.h"

#include <sys/uio.h>
#include <unistd.h>

#include "syscalls_files.h"
#include "thread.h"

#define TRANSFER_MAX 0x7ffff000UL // as Linux: a count always fits an int

static long read_at(struct file *file, void *buffer, size_t size, u64 *position) {
    if (vnode_is(file->vnode, S_IFDIR))
        return -EISDIR;
    if (file->operations->read == NULL)
        return -EINVAL;
    return file->operations->read(file, buffer, MIN(size, TRANSFER_MAX), position);
}

static long write_at(struct file *file, const void *buffer, size_t size, u64 *position) {
    if (file->operations->write == NULL)
        return -EINVAL;
    return file->operations->write(file, buffer, MIN(size, TRANSFER_MAX), position);
}

// Where the end is and writing there are one thing: nobody else appends meanwhile. Gives the vnode
// that is locked for that, or NULL.
static struct vnode *append_begin(struct file *file, u64 *position) {
    if (!(file->flags & O_APPEND))
        return NULL;
    mutex_lock(&file->vnode->appending);
    *position = vnode_size(file->vnode);
    return file->vnode;
}

static void append_end(struct vnode *locked) {
    if (locked != NULL)
        mutex_unlock(&locked->appending);
}

long file_read(struct file *file, void *buffer, size_t size) {
    if (!file_readable(file))
        return -EBADF;
    u64 nowhere = 0;
    if (file->operations->stream)
        return read_at(file, buffer, size, &nowhere);
    mutex_lock(&file->lock);
    long status = read_at(file, buffer, size, &file->position);
    mutex_unlock(&file->lock);
    return status;
}

long file_write(struct file *file, const void *buffer, size_t size) {
    if (!file_writable(file))
        return -EBADF;
    u64 nowhere = 0;
    if (file->operations->stream)
        return write_at(file, buffer, size, &nowhere);
    mutex_lock(&file->lock);
    struct vnode *locked = append_begin(file, &file->position);
    long status = write_at(file, buffer, size, &file->position);
    append_end(locked);
    status = file_written(file, status);
    mutex_unlock(&file->lock);
    return status;
}

long sys_read(int descriptor, void *buffer, size_t size) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = file_read(file, buffer, size);
    file_put(file);
    return status;
}

long sys_write(int descriptor, const void *buffer, size_t size) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = file_write(file, buffer, size);
    file_put(file);
    return status;
}

// --- At a position of the caller's ---

static long positioned(struct file *file, void *buffer, size_t size, i64 offset, bool write) {
    if (offset < 0)
        return -EINVAL;
    if (write ? !file_writable(file) : !file_readable(file))
        return -EBADF;
    if (file->operations->stream)
        return -ESPIPE;
    u64 position = (u64)offset;
    if (!write)
        return read_at(file, buffer, size, &position);
    struct vnode *locked = append_begin(file, &position); // Linux appends even here
    long status = write_at(file, buffer, size, &position);
    append_end(locked);
    return file_written(file, status);
}

long sys_pread64(int descriptor, void *buffer, size_t size, i64 offset) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = positioned(file, buffer, size, offset, false);
    file_put(file);
    return status;
}

long sys_pwrite64(int descriptor, const void *buffer, size_t size, i64 offset) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    long status = positioned(file, (void *)buffer, size, offset, true);
    file_put(file);
    return status;
}

// --- Vectors ---

#define NO_OFFSET INT64_MIN

// Piece after piece, until one comes out short.
static long vector_pieces(struct file *file, const struct iovec *vector, int count, u64 *position,
                          bool write) {
    long done = 0;
    for (int i = 0; i < count; i++) {
        const struct iovec *piece = &vector[i];
        if (piece->iov_len == 0)
            continue;
        long status = write ? write_at(file, piece->iov_base, piece->iov_len, position)
                            : read_at(file, piece->iov_base, piece->iov_len, position);
        if (status < 0)
            return done > 0 ? done : status;
        done += status;
        if ((size_t)status < piece->iov_len)
            break;
        // The next piece would wait, though there is something to give already.
        if (!write && file->operations->stream && !(file_poll(file, NULL) & 1 /* POLLIN */))
            break;
    }
    return done;
}

// Copies between the pieces and one run of bytes.
static int vector_copy(const struct iovec *vector, u8 *bytes, size_t size, bool gather) {
    for (size_t done = 0; done < size; vector++) {
        size_t piece = MIN(vector->iov_len, size - done);
        int status = gather ? user_read(bytes + done, vector->iov_base, piece)
                            : user_write(vector->iov_base, bytes + done, piece);
        if (status < 0)
            return status;
        done += piece;
    }
    return 0;
}

#define ONE_TRANSFER (16 * PAGE_SIZE)

// To a stream the pieces are one write: a line that comes in two stays in one place of a pipe, and
// a message is one message.
static long stream_vector(struct file *file, const struct iovec *vector, int count, size_t total,
                          bool write) {
    u8 small[512], *bytes = small;
    u64 nowhere = 0;
    size_t pages = ALIGN_UP(total, PAGE_SIZE) / PAGE_SIZE;
    if (count == 1 || total == 0 || total > ONE_TRANSFER ||
        (total > sizeof(small) && (bytes = pages_allocate(pages)) == NULL))
        return vector_pieces(file, vector, count, &nowhere, write);
    long status = write ? vector_copy(vector, bytes, total, true) : 0;
    if (status == 0)
        status =
            write ? write_at(file, bytes, total, &nowhere) : read_at(file, bytes, total, &nowhere);
    if (!write && status > 0 && vector_copy(vector, bytes, (size_t)status, false) < 0)
        status = -EFAULT;
    if (bytes != small)
        pages_free(bytes, pages);
    return status;
}

static long file_vector(struct file *file, const struct iovec *vector, int count, size_t total,
                        i64 offset, bool write) {
    u64 given = (u64)offset, *position = offset != NO_OFFSET ? &given : &file->position;
    if (file->operations->stream)
        return offset != NO_OFFSET ? -ESPIPE : stream_vector(file, vector, count, total, write);
    if (offset == NO_OFFSET)
        mutex_lock(&file->lock);
    struct vnode *locked = write ? append_begin(file, position) : NULL;
    long status = vector_pieces(file, vector, count, position, write);
    append_end(locked);
    if (offset == NO_OFFSET)
        mutex_unlock(&file->lock);
    return status;
}

static long transfer_vector(int descriptor, const struct iovec *user, int count, i64 offset,
                            bool write) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    struct iovec small[8], *vector = small;
    long status = 0;
    if (count < 0 || count > IOV_MAX)
        status = -EINVAL;
    else if (write ? !file_writable(file) : !file_readable(file))
        status = -EBADF;
    else if (count > (int)ARRAY_SIZE(small) &&
             (vector = kzalloc((size_t)count * sizeof(*vector))) == NULL)
        status = -ENOMEM;
    if (status == 0)
        status = user_read(vector, user, (size_t)count * sizeof(*vector));
    size_t total = 0;
    for (int i = 0; i < count && status == 0; i++) {
        if (vector[i].iov_len > (size_t)INT64_MAX - total)
            status = -EINVAL;
        total += vector[i].iov_len;
    }
    if (status == 0 && offset == NO_OFFSET && file->operations->vector != NULL)
        status = file->operations->vector(file, vector, (size_t)count, write);
    else if (status == 0)
        status = file_vector(file, vector, count, total, offset, write);
    if (write)
        status = file_written(file, status);
    if (vector != small)
        kfree(vector);
    file_put(file);
    return status;
}

long sys_readv(int descriptor, const struct iovec *vector, int count) {
    return transfer_vector(descriptor, vector, count, NO_OFFSET, false);
}

long sys_writev(int descriptor, const struct iovec *vector, int count) {
    return transfer_vector(descriptor, vector, count, NO_OFFSET, true);
}

long sys_preadv(int descriptor, const struct iovec *vector, int count, i64 offset) {
    return offset < 0 ? -EINVAL : transfer_vector(descriptor, vector, count, offset, false);
}

long sys_pwritev(int descriptor, const struct iovec *vector, int count, i64 offset) {
    return offset < 0 ? -EINVAL : transfer_vector(descriptor, vector, count, offset, true);
}

// The second forms take flags, of which none is needed here, and -1 for "at the file's position".
long sys_preadv2(int descriptor, const struct iovec *vector, int count, i64 offset, i64 high,
                 int flags) {
    (void)high;
    if (flags != 0)
        return -EOPNOTSUPP;
    return offset == -1 ? sys_readv(descriptor, vector, count)
                        : sys_preadv(descriptor, vector, count, offset);
}

long sys_pwritev2(int descriptor, const struct iovec *vector, int count, i64 offset, i64 high,
                  int flags) {
    (void)high;
    if (flags != 0)
        return -EOPNOTSUPP;
    return offset == -1 ? sys_writev(descriptor, vector, count)
                        : sys_pwritev(descriptor, vector, count, offset);
}

// --- lseek ---

// The next data or hole. To most files all is data, and the end is the only hole.
static i64 seek_kind(struct vnode *vnode, i64 offset, i64 size, bool hole) {
    if (offset < 0 || offset >= size)
        return -ENXIO;
    if (vnode->operations->seek == NULL)
        return hole ? size : offset;
    u64 at = (u64)offset;
    int status = vnode->operations->seek(vnode, &at, hole);
    return status < 0 ? status : (i64)MIN(at, (u64)size);
}

static i64 seek_target(struct file *file, i64 offset, int whence) {
    struct vnode *vnode = file->vnode;
    i64 size = (i64)vnode->size;
    switch (whence) {
    case SEEK_SET:
        return offset;
    case SEEK_CUR:
        return offset > INT64_MAX - (i64)file->position ? -EOVERFLOW : (i64)file->position + offset;
    case SEEK_END:
        return offset > INT64_MAX - size ? -EOVERFLOW : size + offset;
    case SEEK_DATA:
    case SEEK_HOLE:
        return seek_kind(vnode, offset, size, whence == SEEK_HOLE);
    default:
        return -EINVAL;
    }
}

long sys_lseek(int descriptor, i64 offset, int whence) {
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    i64 target;
    if (file->flags & O_PATH)
        target = -EBADF;
    else if (file->operations->stream)
        target = -ESPIPE;
    else {
        mutex_lock(&file->lock);
        target = seek_target(file, offset, whence);
        bool relative = whence == SEEK_SET || whence == SEEK_CUR || whence == SEEK_END;
        if (target < 0 && relative)
            target = target == -EOVERFLOW ? target : -EINVAL;
        if (target >= 0)
            file->position = (u64)target;
        mutex_unlock(&file->lock);
    }
    file_put(file);
    return target;
}

// --- From file to file, through a buffer of the kernel's ---

#define COPY_PAGES 8

// Copies until the source ends. NULL positions: the files' own.
static long copy(struct file *from, i64 *from_at, struct file *to, i64 *to_at, size_t size) {
    char *buffer = pages_allocate(COPY_PAGES);
    if (buffer == NULL)
        return -ENOMEM;
    size_t done = 0;
    long status = 0;
    while (done < size) {
        size_t piece = MIN(size - done, COPY_PAGES * PAGE_SIZE);
        long got = from_at != NULL ? positioned(from, buffer, piece, *from_at, false)
                                   : file_read(from, buffer, piece);
        status = got;
        if (got <= 0)
            break;
        status = to_at != NULL ? positioned(to, buffer, (size_t)got, *to_at, true)
                               : file_write(to, buffer, (size_t)got);
        long put = MAX(status, 0L);
        if (from_at != NULL)
            *from_at += put;
        else if (put < got && !from->operations->stream) // take back what could not be written
            from->position -= (u64)(got - put);
        if (to_at != NULL)
            *to_at += put;
        done += (size_t)put;
        if (put < got)
            break;
    }
    pages_free(buffer, COPY_PAGES);
    return done > 0 ? (long)done : status;
}

static long copy_between(int to_descriptor, i64 *user_to, int from_descriptor, i64 *user_from,
                         size_t size, bool regular) {
    i64 from_at = 0, to_at = 0;
    if ((user_from != NULL && user_read(&from_at, user_from, sizeof(from_at)) < 0) ||
        (user_to != NULL && user_read(&to_at, user_to, sizeof(to_at)) < 0))
        return -EFAULT;
    struct file *from = file_of(from_descriptor), *to = file_of(to_descriptor);
    long status = 0;
    if (from == NULL || to == NULL || !file_readable(from) || !file_writable(to))
        status = -EBADF;
    else if (to->flags & O_APPEND)
        status = regular ? -EBADF : -EINVAL;
    else if (vnode_is(from->vnode, S_IFDIR) || vnode_is(to->vnode, S_IFDIR))
        status = regular ? -EISDIR : -EINVAL;
    else if (regular && (!vnode_is(from->vnode, S_IFREG) || !vnode_is(to->vnode, S_IFREG)))
        status = -EINVAL;
    else if (!regular && from->operations->stream)
        status = -EINVAL;
    else
        status = copy(from, user_from != NULL ? &from_at : NULL, to,
                      user_to != NULL ? &to_at : NULL, MIN(size, TRANSFER_MAX));
    if (from != NULL)
        file_put(from);
    if (to != NULL)
        file_put(to);
    if (status >= 0 &&
        ((user_from != NULL && user_write(user_from, &from_at, sizeof(from_at)) < 0) ||
         (user_to != NULL && user_write(user_to, &to_at, sizeof(to_at)) < 0)))
        return -EFAULT;
    return status;
}

long sys_sendfile(int to, int from, i64 *offset, size_t size) {
    return copy_between(to, NULL, from, offset, size, false);
}

long sys_copy_file_range(int from, i64 *from_offset, int to, i64 *to_offset, size_t size,
                         unsigned flags) {
    return flags != 0 ? -EINVAL : copy_between(to, to_offset, from, from_offset, size, true);
}
