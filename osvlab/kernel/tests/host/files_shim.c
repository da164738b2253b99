// The file layer's surroundings on a host: see files_shim.h.
//
// Pages come from one arena and are poisoned while they are free, so that the address sanitizer
// sees a use after free as well as an overrun. "Physical" addresses are host addresses minus
// LINEAR_BASE, as the kernel's macros compute them.

#include "files_shim.h"

#include "runtime.h"

#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "area.h"
#include "boot.h"
#include "boot_memory.h"
#include "console.h"
#include "poll.h"
#include "procfs.h"
#include "report.h"
#include "syscalls.h"

// --- Saying things ---

bool report_present; // print.c is the kernel's own; it says things on the console below

void panic(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputs(" (panic)\n", stderr);
    abort();
}
void report(const char *format, ...) {
    (void)format;
}
void power_off(int status) {
    exit(status);
}
void runtime_load_modules(const char *directory) {
    (void)directory;
}
void boot_step(const char *name) {
    (void)name;
}

// An archive with nothing in it.
__asm__(".section .rodata\n.globl bootfs_start, bootfs_end\nbootfs_start: .zero 128\nbootfs_end: "
        ".previous");

struct boot_range boot_archive;
void pages_take_archive(void) {}

// --- Memory ---

static long failing = -1;
static struct page *frames;
static u8 *arena;
static size_t frame_count, frames_used, next_frame;
static pthread_mutex_t arena_lock = PTHREAD_MUTEX_INITIALIZER;

void shim_memory_fails_after(long allocations) {
    failing = allocations;
}

static bool fails(void) {
    return failing >= 0 && failing-- == 0 ? (failing = 0, true) : false;
}

static size_t objects;

static void *counted(void *object) {
    __atomic_add_fetch(&objects, object != NULL, __ATOMIC_RELAXED);
    return object;
}
size_t shim_objects(void) {
    return objects;
}
void *kzalloc(size_t size) {
    return fails() ? NULL : counted(calloc(1, size));
}
void kfree(void *object) {
    __atomic_sub_fetch(&objects, object != NULL, __ATOMIC_RELAXED);
    free(object);
}
void *krealloc(void *object, size_t size) {
    return fails() ? NULL : object == NULL ? kzalloc(size) : realloc(object, size);
}
char *kstrdup(const char *text) {
    return fails() ? NULL : counted(strdup(text));
}

static struct page *take_frames(size_t count) {
    pthread_mutex_lock(&arena_lock);
    struct page *found = NULL;
    size_t run = 0;
    for (size_t looked = 0; looked < 2 * frame_count && found == NULL; looked++) {
        if (next_frame >= frame_count)
            next_frame = run = 0;
        run = frames[next_frame].references == 0 ? run + 1 : 0;
        next_frame++;
        if (run == count)
            found = &frames[next_frame - count];
    }
    for (size_t i = 0; found != NULL && i < count; i++)
        found[i].references = 1;
    if (found != NULL)
        frames_used += count;
    pthread_mutex_unlock(&arena_lock);
    if (found != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(page_address(found), count * PAGE_SIZE);
        memset(page_address(found), 0, count * PAGE_SIZE);
    }
    return found;
}

static struct page *allocate(size_t count) {
    if (fails())
        return NULL;
    struct page *page = take_frames(count);
    while (page == NULL && cache_reclaim(64) > 0)
        page = take_frames(count);
    return page;
}

struct page *page_allocate(void) {
    return allocate(1);
}
void page_get(struct page *page) {
    ASSERT(page->references > 0);
    __atomic_add_fetch(&page->references, 1, __ATOMIC_RELAXED);
}
void page_put(struct page *page) {
    ASSERT(page->references > 0);
    pthread_mutex_lock(&arena_lock);
    if (--page->references == 0) {
        frames_used--;
        ASAN_POISON_MEMORY_REGION(page_address(page), PAGE_SIZE);
    }
    pthread_mutex_unlock(&arena_lock);
}
void *page_address(struct page *page) {
    return arena + (size_t)(page - frames) * PAGE_SIZE;
}
u64 page_physical(struct page *page) {
    return VIRTUAL_TO_PHYSICAL((uintptr_t)page_address(page));
}
struct page *page_of(const void *address) {
    return &frames[((const u8 *)address - arena) / PAGE_SIZE];
}
void *pages_allocate(size_t count) {
    struct page *page = allocate(count);
    return page == NULL ? NULL : page_address(page);
}
void pages_free(void *address, size_t count) {
    for (size_t i = 0; i < count; i++)
        page_put(page_of((u8 *)address + i * PAGE_SIZE));
}
size_t shim_pages_used(void) {
    return frames_used;
}
void memory_statistics(struct memory_statistics *out) {
    *out = (struct memory_statistics){.total = frame_count * PAGE_SIZE,
                                      .free = (frame_count - frames_used) * PAGE_SIZE,
                                      .cache = cache_pages() * PAGE_SIZE};
}

// --- The application's memory: the first page is not there, as in a real program ---

static bool wild(const void *address) {
    return (uintptr_t)address < PAGE_SIZE;
}
int user_read(void *to, const void *from, size_t size) {
    if (wild(from) && size > 0)
        return -EFAULT;
    memcpy(to, from, size);
    return 0;
}
int user_write(void *to, const void *from, size_t size) {
    if (wild(to) && size > 0)
        return -EFAULT;
    memcpy(to, from, size);
    return 0;
}
int user_clear(void *to, size_t size) {
    if (wild(to) && size > 0)
        return -EFAULT;
    memset(to, 0, size);
    return 0;
}
int user_string(char *to, const char *from, size_t size) {
    if (wild(from))
        return -EFAULT;
    size_t length = strnlen(from, size);
    if (length == size)
        return -ENAMETOOLONG;
    memcpy(to, from, length + 1);
    return (int)length;
}

void area_file_changed(const struct vnode *file, u64 start, u64 end, bool copies) {
    (void)file, (void)start, (void)end, (void)copies; // nothing is mapped
}
void area_collect_dirty(const struct vnode *file) {
    (void)file;
}
void areas_each(void (*visit)(const struct area_description *, void *), void *argument) {
    struct area_description area = {
        .start = 0x1000, .end = 0x3000, .protection = 5, .name = "/test"};
    visit(&area, argument);
}
long sys_uname(struct utsname *out) {
    return uname(out);
}
char boot_command_line[32768] = "/test";

// --- A kernel without a network ---

void proc_write_net_arp(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_dev(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_pnp(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_route(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_sockstat(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_tcp(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_udp(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_six(struct text *text, int pid) {
    (void)text, (void)pid;
}
void proc_write_net_unix(struct text *text, int pid) {
    (void)text, (void)pid;
}

// --- The console ---

char shim_console[1 << 16];
size_t shim_console_size;
static void (*receiver)(u8 byte);

void uart_write(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        shim_console[shim_console_size++ % sizeof(shim_console)] = text[i];
    if (getenv("SHIM_SHOW") != NULL)
        fwrite(text, 1, size, stderr);
}
void uart_set_receiver(void (*function)(u8 byte)) {
    receiver = function;
}
void shim_type(const char *text) {
    for (; *text != '\0'; text++)
        receiver((u8)*text);
}

// --- Disks in memory ---

static struct block_device disks[4];
static size_t disk_count;
unsigned long shim_requests;
long shim_failing_sector = -1;

static int disk_transfer(struct block_device *disk, enum block_operation operation, u64 sector,
                         const struct segment *segments, size_t count) {
    u8 *bytes = disk->driver;
    shim_requests++;
    for (size_t i = 0; i < count; i++) {
        void *memory = PHYSICAL_TO_VIRTUAL(segments[i].physical);
        ASSERT(segments[i].size % SECTOR_SIZE == 0 && segments[i].size > 0);
        u64 end = sector + segments[i].size / SECTOR_SIZE;
        if (shim_failing_sector >= (long)sector && shim_failing_sector < (long)end)
            return -EIO;
        if (operation == BLOCK_READ)
            memcpy(memory, bytes + sector * SECTOR_SIZE, segments[i].size);
        else
            memcpy(bytes + sector * SECTOR_SIZE, memory, segments[i].size);
        sector = end;
    }
    return 0;
}
int block_transfer(struct block_device *device, enum block_operation operation, u64 sector,
                   const struct segment *segments, size_t count) {
    u64 end = sector;
    for (size_t i = 0; i < count; i++)
        end += segments[i].size / SECTOR_SIZE;
    if (end < sector || end > device->sectors)
        return -EINVAL;
    if (operation == BLOCK_WRITE && device->read_only)
        return -EROFS;
    return device->transfer(device, operation, sector, segments, count);
}
int block_read(struct block_device *device, u64 sector, void *buffer, size_t sectors) {
    struct segment segment = {VIRTUAL_TO_PHYSICAL((uintptr_t)buffer), (u32)(sectors * SECTOR_SIZE)};
    return block_transfer(device, BLOCK_READ, sector, &segment, 1);
}
int block_write(struct block_device *device, u64 sector, const void *buffer, size_t sectors) {
    struct segment segment = {VIRTUAL_TO_PHYSICAL((uintptr_t)buffer), (u32)(sectors * SECTOR_SIZE)};
    return block_transfer(device, BLOCK_WRITE, sector, &segment, 1);
}
struct block_device *block_find(const char *name) {
    for (size_t i = 0; i < disk_count; i++)
        if (strcmp(disks[i].name, name) == 0)
            return &disks[i];
    return NULL;
}
void block_each(void (*visit)(struct block_device *, void *), void *argument) {
    for (size_t i = 0; i < disk_count; i++)
        visit(&disks[i], argument);
}
void shim_disk(const char *name, void *bytes, size_t size) {
    struct block_device *disk = &disks[disk_count++];
    *disk = (struct block_device){
        .sectors = size / SECTOR_SIZE, .driver = bytes, .transfer = disk_transfer};
    snprintf(disk->name, sizeof(disk->name), "%s", name);
}
void shim_disks_forget(void) {
    disk_count = 0;
}

// --- The world ---

void shim_start(size_t pages) {
    if (arena == NULL) {
        frame_count = pages;
        frames = calloc(pages, sizeof(*frames));
        arena = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ASAN_POISON_MEMORY_REGION(arena, pages * PAGE_SIZE);
    }
    shim_process.files = files_create();
    files_boot(shim_process.files);
    core_mount_bootfs();
}
