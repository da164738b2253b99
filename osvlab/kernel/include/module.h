// Modules of the core: filesystems that come as ELF files. What both sides promise each other.
//
// A module is compiled like the core (Makefile) and linked as a shared object. The runtime's linker
// loads it, into memory that is all there from the start, because the core cannot wait for a page
// while it serves a fault, and binds it to libc's string functions. It exports one name,
// `osvlab_module`, and gets the table of everything else it may call: so no name of the core can
// ever be met by an application.
//
// Invariant: both sides were compiled from the same headers. `layout` says so; a module that says
// something else is refused before any of its code runs.
#pragma once

#include "files/vnode.h"

#include "area.h"
#include "block.h"

struct core_services;

struct module {
    u64 layout; // MODULE_LAYOUT
    const char *name;
    int (*start)(const struct core_services *core); // once; 0 or -errno
};

struct thread;

// Named as in the headers that declare them. To be read there: each keeps its promises here too.
struct core_services {
    // memory.h
    void *(*kzalloc)(size_t size);
    void (*kfree)(void *object);
    struct page *(*page_allocate)(void);
    void (*page_get)(struct page *page);
    void (*page_put)(struct page *page);
    void *(*page_address)(struct page *page);
    void *(*pages_allocate)(size_t count);
    void (*pages_free)(void *address, size_t count);
    void *(*memory_map)(size_t size);
    void (*memory_unmap)(void *memory);
    void (*memory_statistics)(struct memory_statistics *out);
    // block.h
    struct block_device *(*block_find)(const char *name);
    void (*block_each)(void (*visit)(struct block_device *, void *), void *argument);
    int (*block_bytes)(struct block_device *device, enum block_operation operation, u64 offset,
                       void *memory, size_t size);
    // vnode.h, file.h, area.h
    int (*filesystem_register)(const struct filesystem *filesystem);
    void (*vnode_init)(struct vnode *vnode, struct mount *mount, u64 inode, u32 mode,
                       const struct vnode_operations *operations,
                       const struct file_operations *file_operations);
    void (*vnode_get)(struct vnode *vnode);
    void (*vnode_put)(struct vnode *vnode);
    struct vnode *(*vnode_find)(struct mount *mount, u64 inode);
    struct vnode *(*vnode_insert)(struct vnode *vnode);
    int (*vnode_set_name)(struct vnode *vnode, struct vnode *parent, const char *name,
                          size_t length);
    u64 (*vnode_size)(struct vnode *vnode);
    void (*vnode_touch)(struct vnode *vnode);
    struct page *(*cache_find)(const void *owner, u64 inode, u64 index);
    struct page *(*cache_insert)(const void *owner, u64 inode, u64 index, struct page *page);
    size_t (*cache_cut)(const void *owner, u64 inode, u64 from, u64 end);
    enum cache_dirty (*cache_dirty)(const void *owner, u64 inode, u64 index);
    size_t (*cache_take_dirty)(const void *owner, u64 inode, size_t group, u64 *first,
                               struct page **pages);
    size_t (*cache_dirty_pages)(void);
    void (*area_collect_dirty)(const struct vnode *file);
    // user.h
    int (*user_read)(void *to, const void *from_user, size_t size);
    int (*user_write)(void *to_user, const void *from, size_t size);
    int (*user_clear)(void *to_user, size_t size);
    // lock.h, thread.h, clock.h
    void (*mutex_init)(struct mutex *mutex, const char *name);
    void (*mutex_lock)(struct mutex *mutex);
    void (*mutex_unlock)(struct mutex *mutex);
    u64 (*spin_lock)(struct spinlock *lock);
    void (*spin_unlock)(struct spinlock *lock, u64 flags);
    void (*wait_queue_init)(struct wait_queue *queue, const char *name);
    void (*wait_prepare)(struct wait_queue *queue, struct waiter *waiter);
    int (*wait_sleep)(u64 deadline, bool interruptible);
    void (*wait_finish)(struct wait_queue *queue, struct waiter *waiter);
    int (*wait_wake)(struct wait_queue *queue, int count);
    struct thread *(*thread_start)(const char *name, void (*function)(void *), void *argument);
    u64 (*clock_monotonic)(void);
    u64 (*clock_realtime)(void);
    // print.h
    void (*kprintf)(const char *format, ...) PRINTF(1, 2);
    void (*debug)(const char *format, ...) PRINTF(1, 2);
    int (*format_string)(char *out, size_t size, const char *format, ...) PRINTF(3, 4);
    void (*panic)(const char *format, ...) __attribute__((noreturn)) PRINTF(1, 2);
    void (*random_bytes)(void *out, size_t size);
};

// Changes with these structures; MODULE_MEANING is raised by hand where only a meaning changes.
#define MODULE_MEANING 1UL
#define MODULE_MIX(sum, type) ((sum) * 1000003UL + sizeof(type))
#define MODULE_LAYOUT                                                                        \
    MODULE_MIX(MODULE_MIX(MODULE_MIX(MODULE_MIX(MODULE_MIX(MODULE_MIX(MODULE_MEANING,        \
                                                                      struct core_services), \
                                                           struct vnode),                    \
                                                struct vnode_operations),                    \
                                     struct filesystem),                                     \
                          struct mount),                                                     \
               struct file)
