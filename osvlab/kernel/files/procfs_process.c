// /proc/PID: what is known of one process (proc(5)). There is one address space, so memory is the
// same for all.

#include "procfs.h"

#include <sys/mman.h>

#include "area.h"
#include "thread.h"

int proc_current_pid(void) {
    return current_process()->pid;
}

// The last component of the program's path, as Linux's "comm", of at most 15 characters.
static void short_name(const struct process_view *view, char out[16]) {
    const char *slash = strrchr(view->name, '/');
    format_string(out, 16, "%s", slash == NULL ? view->name : slash + 1);
}

static void write_area(const struct area_description *area, void *argument) {
    text_add(argument, "%08lx-%08lx %c%c%c%c %08lx 00:00 0", area->start, area->end,
             area->protection & PROT_READ ? 'r' : '-', area->protection & PROT_WRITE ? 'w' : '-',
             area->protection & PROT_EXEC ? 'x' : '-', area->flags & MAP_SHARED ? 's' : 'p',
             area->offset);
    if (area->name[0] != '\0')
        text_add(argument, "                          %s", area->name);
    text_add(argument, "\n");
}

void proc_write_maps(struct text *text, int pid) {
    (void)pid;
    areas_each(write_area, text);
}

static void add_area(const struct area_description *area, void *argument) {
    *(u64 *)argument += area->end - area->start;
}

static u64 mapped_bytes(void) {
    u64 bytes = 0;
    areas_each(add_area, &bytes);
    return bytes;
}

static u64 used_bytes(void) {
    struct memory_statistics memory;
    memory_statistics(&memory);
    return memory.total - memory.free - memory.cache;
}

void proc_write_stat(struct text *text, int pid) {
    struct process_view view;
    char name[16];
    if (!process_view(pid, &view))
        return;
    short_name(&view, name);
    text_add(text, "%d (%s) %c %d %d %d 1281 %d 0 0 0 0 0 0 0 0 0 20 0 %d 0 0 %lu %lu", pid, name,
             view.dead ? 'Z' : 'R', view.parent, pid, pid, pid, view.threads, mapped_bytes(),
             used_bytes() / PAGE_SIZE);
    for (int field = 25; field <= 52; field++)
        text_add(text, " 0");
    text_add(text, "\n");
}

void proc_write_statm(struct text *text, int pid) {
    (void)pid;
    text_add(text, "%lu %lu 0 0 0 %lu 0\n", mapped_bytes() / PAGE_SIZE, used_bytes() / PAGE_SIZE,
             used_bytes() / PAGE_SIZE);
}

void proc_write_status(struct text *text, int pid) {
    struct process_view view;
    char name[16];
    u32 mask = files_mask(files_current());
    if (!process_view(pid, &view))
        return;
    short_name(&view, name);
    text_add(
        text,
        "Name:\t%s\nUmask:\t0%u%u%u\nState:\t%s\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n"
        "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmSize:\t%8lu kB\nVmRSS:\t%8lu kB\nThreads:\t%d\n",
        name, mask >> 6 & 7, mask >> 3 & 7, mask & 7, view.dead ? "Z (zombie)" : "R (running)", pid,
        pid, view.parent, mapped_bytes() / 1024, used_bytes() / 1024, view.threads);
}

void proc_write_cmdline(struct text *text, int pid) {
    struct process_view view;
    if (process_view(pid, &view))
        text_add(text, "%s%c", view.name, '\0');
}

void proc_write_comm(struct text *text, int pid) {
    struct process_view view;
    char name[16];
    if (!process_view(pid, &view))
        return;
    short_name(&view, name);
    text_add(text, "%s\n", name);
}

void proc_write_exe(struct text *text, int pid) {
    struct process_view view;
    if (process_view(pid, &view) && view.name[0] == '/') // the kernel's own has no program
        text_add(text, "%s", view.name);
}

void proc_write_cwd(struct text *text, int pid) {
    char path[512];
    if (pid != proc_current_pid())
        return;
    struct vnode *directory = files_directory(files_current());
    text_add(text, "%s", vnode_path(directory, path, sizeof(path)));
    vnode_put(directory);
}

void proc_write_root(struct text *text, int pid) {
    (void)pid;
    text_add(text, "/");
}

static void write_mount(struct mount *mount, void *argument) {
    char path[256];
    if (mount->covers == NULL && mount->root != names_root())
        return; // it has no place any more
    text_add(argument, "%s %s %s %s 0 0\n", mount->device,
             vnode_path(mount->root, path, sizeof(path)), mount->filesystem->name,
             mount->read_only ? "ro" : "rw");
}

void proc_write_mounts(struct text *text, int pid) {
    (void)pid;
    mounts_each(write_mount, text);
}
