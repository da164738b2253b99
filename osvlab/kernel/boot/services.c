// What modules of the core may call (module.h), and how one is started.

#include "module.h"

#include "clock.h"
#include "runtime.h"
#include "scheduler.h"
#include "user.h"

#define STACK_IN_ADVANCE (96UL << 10)

static const struct core_services services = {
    .kzalloc = kzalloc,
    .kfree = kfree,
    .page_allocate = page_allocate,
    .page_get = page_get,
    .page_put = page_put,
    .page_address = page_address,
    .pages_allocate = pages_allocate,
    .pages_free = pages_free,
    .memory_map = memory_map,
    .memory_unmap = memory_unmap,
    .memory_statistics = memory_statistics,
    .block_find = block_find,
    .block_each = block_each,
    .block_bytes = block_bytes,
    .filesystem_register = filesystem_register,
    .vnode_init = vnode_init,
    .vnode_get = vnode_get,
    .vnode_put = vnode_put,
    .vnode_find = vnode_find,
    .vnode_insert = vnode_insert,
    .vnode_set_name = vnode_set_name,
    .vnode_size = vnode_size,
    .vnode_touch = vnode_touch,
    .cache_find = cache_find,
    .cache_insert = cache_insert,
    .cache_cut = cache_cut,
    .cache_dirty = cache_dirty,
    .cache_take_dirty = cache_take_dirty,
    .cache_dirty_pages = cache_dirty_pages,
    .area_collect_dirty = area_collect_dirty,
    .user_read = user_read,
    .user_write = user_write,
    .user_clear = user_clear,
    .mutex_init = mutex_init,
    .mutex_lock = mutex_lock,
    .mutex_unlock = mutex_unlock,
    .spin_lock = spin_lock,
    .spin_unlock = spin_unlock,
    .wait_queue_init = wait_queue_init,
    .wait_prepare = wait_prepare,
    .wait_sleep = wait_sleep,
    .wait_finish = wait_finish,
    .wait_wake = wait_wake,
    .thread_start = thread_start,
    .clock_monotonic = clock_monotonic,
    .clock_realtime = clock_realtime,
    .kprintf = kprintf,
    .debug = debug,
    .format_string = format_string,
    .panic = panic,
    .random_bytes = random_bytes,
};

// The first thread mounts and unmounts on the runtime's stack, which is paged in on demand. A page
// that came while a filesystem's locks are held would be asked for in the wrong order of locks.
static void have_stack(void) {
    u64 here = (u64)__builtin_frame_address(0);
    u8 byte;

    for (u64 below = 0; below < STACK_IN_ADVANCE; below += PAGE_SIZE)
        user_read(&byte, (void *)(here - below), 1);
}

int core_module_start(const void *entry) {
    const struct module *module = entry;

    if (module->layout != MODULE_LAYOUT) {
        kprintf("module %s was made for another kernel than this one\n", module->name);
        return -ENOEXEC;
    }
    have_stack();
    int status = module->start(&services);
    debug("module %s: %s\n", module->name, status < 0 ? "failed" : "started");
    return status;
}
