// The devices that are only software: null, zero, full, random; and the table of all.
// The numbers are Linux's (Documentation/admin-guide/devices.txt).

#include "vnode.h"

#include "syscalls_files.h"

static long read_nothing(struct file *file, void *buffer, size_t size, u64 *position) {
    (void)file, (void)buffer, (void)size, (void)position;
    return 0;
}

static long write_everything(struct file *file, const void *buffer, size_t size, u64 *position) {
    (void)file, (void)buffer;
    *position += size;
    return (long)size;
}

static long read_zeros(struct file *file, void *buffer, size_t size, u64 *position) {
    (void)file, (void)position;
    return user_clear(buffer, size) < 0 ? -EFAULT : (long)size;
}

static long write_full(struct file *file, const void *buffer, size_t size, u64 *position) {
    (void)file, (void)buffer, (void)position;
    return size == 0 ? 0 : -ENOSPC;
}

static long read_random(struct file *file, void *buffer, size_t size, u64 *position) {
    (void)file, (void)position;
    return sys_getrandom(buffer, size, 0);
}

static struct page *zero_page(u64 index, bool writable, int *error) {
    (void)index, (void)writable;
    struct page *page = page_allocate();
    *error = page == NULL ? -ENOMEM : 0;
    return page;
}

static const struct file_operations null = {.read = read_nothing, .write = write_everything};
static const struct file_operations zero = {.read = read_zeros, .write = write_everything};
static const struct file_operations full = {.read = read_zeros, .write = write_full};
static const struct file_operations random = {.read = read_random, .write = write_everything};

#define NUMBER(major, minor) ((major) << 8 | (minor)) // makedev, for small ones, as a constant

const struct device devices[] = {
    {NUMBER(1, 3), "null", S_IFCHR | 0666, &null, NULL},
    {NUMBER(1, 5), "zero", S_IFCHR | 0666, &zero, zero_page},
    {NUMBER(1, 7), "full", S_IFCHR | 0666, &full, NULL},
    {NUMBER(1, 8), "random", S_IFCHR | 0666, &random, NULL},
    {NUMBER(1, 9), "urandom", S_IFCHR | 0666, &random, NULL},
    {NUMBER(5, 0), "tty", S_IFCHR | 0666, &tty_operations, NULL},
    {NUMBER(5, 1), "console", S_IFCHR | 0600, &tty_operations, NULL},
    {NUMBER(4, 64), "ttyS0", S_IFCHR | 0600, &tty_operations, NULL},
};
const size_t device_count = ARRAY_SIZE(devices);

const struct device *device_find(u64 number) {
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
        if (devices[i].number == number)
            return &devices[i];
    return NULL;
}
