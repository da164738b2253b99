// Page faults: a page comes into being when it is first touched.
//
// Invariant: serving a fault never changes what the application would read: anonymous pages
// appear as zeros, file pages as the file's bytes, and a private page is copied before the
// first write reaches it.

#include "fault.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"
#include "area_internal.h"
#include "boot_memory.h"
#include "counts.h"
#include "file.h"
#include "memory.h"
#include "print.h"
#include "scheduler.h"

#define ERROR_WRITE 2UL
#define ERROR_FETCH 16UL
#define TABLES 3 // that one page may need
#define WRITE_BACKS 3

static bool allowed(const struct area *a, u64 error) {
    if (error & ERROR_FETCH)
        return a->protection & PROT_EXEC;
    if (error & ERROR_WRITE)
        return a->protection & PROT_WRITE;
    return a->protection != PROT_NONE;
}

static _Noreturn void out_of_memory(void) {
    struct memory_statistics s;

    memory_statistics(&s);
    panic("out of memory: %lu KiB of RAM, %lu KiB free, %lu KiB in the kernel's heap; give the "
          "machine more",
          s.total >> 10, s.free >> 10, s.heap >> 10);
}

// Takes file pages out of the address space; they come back when they are touched again. Then
// nobody but the page cache holds them, and it can give up those that are clean. areas_lock is held.
static size_t release_file_pages(void) {
    size_t released = 0;

    for (struct area *a = area_tree_after(0); a; a = area_tree_after(a->end)) {
        if (!a->file)
            continue;
        area_take_dirty(a, a->start, a->end);
        for (u64 p = page_next_mapped(a->start, a->end); p < a->end;
             p = page_next_mapped(p + PAGE_SIZE, a->end)) {
            u64 physical;
            page_mapped(p, &physical, NULL);
            struct page *page = page_of(PHYSICAL_TO_VIRTUAL(physical));
            if (page->references > 1) { // the cache's and ours: no private copy
                page_unmap(p);
                page_put(page);
                released++;
            }
        }
    }
    return released;
}

static struct page *fresh_page(void) {
    struct page *page = page_allocate();

    if (!page && release_file_pages())
        page = page_allocate();
    return page;
}

static struct page *fresh_copy(const struct page *original) {
    struct page *copy = fresh_page();

    if (copy)
        memcpy(page_address(copy), page_address((struct page *)original), PAGE_SIZE);
    return copy;
}

// The page of the file, or a private copy of it when it is about to be written.
static struct page *file_page(const struct area *a, u64 address, bool write, int *error) {
    bool private = a->flags & MAP_PRIVATE;
    u64 index = (a->offset + (address - a->start)) >> PAGE_SHIFT;
    bool shared_write = !private && (a->protection & PROT_WRITE);
    struct page *page = vnode_page(a->file, index, shared_write, error);

    if (!page && *error == -ENOMEM && release_file_pages())
        page = vnode_page(a->file, index, shared_write, error);
    if (!page || !private || !write)
        return page;
    struct page *copy = fresh_copy(page);
    page_put(page);
    *error = copy ? 0 : -ENOMEM;
    return copy;
}

// Pages of files that are mapped cannot be given up, not even when the kernel itself needs memory
// and may not wait for the areas. So when memory gets short they are at most a quarter of it. Those
// that may be written to could all be dirty: after an eighth of memory they are looked at.
static u64 file_pages;    // mapped since they were released
static u64 written_pages; // that may be written to, mapped since somebody looked

static void release_in_time(void) {
    if (file_pages < pages_total() / 4 || pages_free_count() > pages_total() / 8)
        return;
    release_file_pages();
    file_pages = 0;
}

enum outcome { SERVED, REFUSED, NO_MEMORY };

// A write to a private page that is mapped, but read-only.
static enum outcome serve_write(const struct area *a, u64 address, u64 physical) {
    struct page *page = page_of(PHYSICAL_TO_VIRTUAL(physical));

    if (area_page_protection(a, page) & PROT_WRITE) {
        page_protect(address, a->protection);
        return SERVED;
    }
    page_get(page); // it may be released while room for the copy is made
    struct page *copy = fresh_copy(page);
    page_put(page);
    if (!copy)
        return NO_MEMORY;
    if (!page_mapped(address, NULL, NULL)) { // it was
        page_put(copy);
        return SERVED; // and comes again
    }
    page_map(address, page_physical(copy), a->protection);
    page_put(page);
    return SERVED;
}

// A page table may be needed, for which page_map, with interrupts off, cannot wait.
static bool map_hard(u64 address, struct page *page, int protection) {
    if (page_map(address, page_physical(page), protection) == 0)
        return true;
    if (!cache_reclaim(TABLES) && !(release_file_pages() && cache_reclaim(TABLES)))
        return false;
    return page_map(address, page_physical(page), protection) == 0;
}

static enum outcome serve(const struct area *a, u64 address, u64 error_code, int *signal,
                          int *code) {
    bool write = error_code & ERROR_WRITE;
    u64 physical;
    int error = 0;

    if (page_mapped(address, &physical, NULL))
        return write ? serve_write(a, address, physical) : SERVED;
    struct page *page = a->file ? file_page(a, address, write, &error) : fresh_page();
    if (!page && (error == -ENOMEM || !a->file))
        return NO_MEMORY;
    if (!page) {
        *signal = SIGBUS;
        *code = error ? BUS_OBJERR : BUS_ADRERR;
        return REFUSED;
    }
    if (map_hard(address, page, area_page_protection(a, page))) {
        file_pages += a->file != NULL;
        written_pages += a->file != NULL && (a->flags & MAP_SHARED) &&
                         (a->protection & PROT_WRITE) && vnode_writes_back(a->file);
        return SERVED;
    }
    page_put(page);
    return NO_MEMORY;
}

static u64 served_count;

u64 fault_count(void) {
    return served_count;
}

static enum outcome serve_locked(u64 address, u64 error_code, int *signal, int *code) {
    struct area *a = area_at(address);

    if (a && allowed(a, error_code))
        return serve(a, address, error_code, signal, code);
    if (a)
        *code = SEGV_ACCERR;
    return REFUSED;
}

bool fault_serve(u64 address, u64 error_code, bool may_sleep, int *signal, int *code) {
    *signal = SIGSEGV;
    *code = SEGV_MAPERR;
    address = ALIGN_DOWN(address, PAGE_SIZE);
    if (!may_sleep || !area_range_valid(address, PAGE_SIZE))
        return false;
    if (written_pages > pages_total() / 8) {
        written_pages = 0;
        files_write_back();
    }
    // When what fills memory is not written yet, that is done, without the lock, and tried again.
    for (int tries = 0;; tries++) {
        mutex_lock(&areas_lock);
        release_in_time();
        enum outcome outcome = serve_locked(address, error_code, signal, code);
        mutex_unlock(&areas_lock);
        served_count += outcome == SERVED;
        if (outcome != NO_MEMORY)
            return outcome == SERVED;
        if (tries == WRITE_BACKS || !files_write_back())
            out_of_memory();
    }
}

static const char *what_is_there(u64 address, u64 error_code) {
    u64 kernel_start, kernel_end;

    kernel_range(&kernel_start, &kernel_end);
    if (address < PAGE_SIZE)
        return "unmapped address (near NULL)";
    if (stacks_guard_name(address))
        return "the guard page of a kernel stack, at";
    if (address >= kernel_start && address < kernel_end)
        return error_code & 1 ? "protected kernel address" : "unmapped kernel address";
    return error_code & 1 ? "protected address" : "unmapped address";
}

void fault_describe(const struct registers *r, char *out, size_t size) {
    const char *act = r->error_code & ERROR_FETCH   ? "execution"
                      : r->error_code & ERROR_WRITE ? "write"
                                                    : "read";
    struct thread *t = this_thread();
    bool near_stack = r->cr2 - (r->rsp - 65536) < 131072 && area_range_valid(r->cr2, 1);

    format_string(out, size, "%s of %s 0x%lx in thread %s%s", act,
                  what_is_there(r->cr2, r->error_code), r->cr2, t ? thread_title(t) : "(boot)",
                  near_stack ? " (stack overflow?)" : "");
}
