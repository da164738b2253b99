// Files as the rest of the kernel sees them.
//
// A `vnode` is a thing in a filesystem (or a device, pipe end, eventfd); a `file` is an open
// vnode with a position and flags; a `files` is a process's descriptor table with its current
// directory and umask.
#pragma once

#include "base.h"
#include "lock.h"

struct vnode;
struct file;
struct files;
struct page;

// Descriptor tables. files_clone makes a table with the same open files (for a new process).
struct files *files_create(void);
struct files *files_clone(struct files *from);
void files_destroy(struct files *files); // closes everything

// The open file behind a descriptor of the current process, with a reference; NULL = -EBADF.
struct file *file_of(int descriptor);
void file_put(struct file *file);
struct vnode *file_vnode(struct file *file); // borrowed from the file
bool file_readable(struct file *file);
bool file_writable(struct file *file);

void vnode_get(struct vnode *vnode);
void vnode_put(struct vnode *vnode);
u64 vnode_size(struct vnode *vnode);
bool vnode_mappable(struct vnode *vnode);                            // does it have pages?
const char *vnode_path(struct vnode *vnode, char *out, size_t size); // for messages and /proc

// The page of file data at `index` (in pages), with a reference for the caller. Beyond the end
// of the file: NULL with *error = 0. On a read error NULL with *error < 0. `writable` asks for
// a page whose changes reach the file (MAP_SHARED on ramfs); -EACCES/-EINVAL where not possible.
struct page *vnode_page(struct vnode *vnode, u64 index, bool writable, int *error);

// Does it want to hear, by vnode_dirtied, of pages that are written to through shared mappings?
bool vnode_writes_back(const struct vnode *vnode);
void vnode_dirtied(struct vnode *vnode, u64 index);
// Returns when what was written to the file is durable; `data_only`: and what is needed to find it.
int vnode_sync(struct vnode *vnode, bool data_only);
int files_sync(void); // the same of everything; the first error
// Writes dirty pages to their disks, so that memory gets free. False: there is nobody who could.
bool files_write_back(void);

// Drops up to `pages` clean cached pages nobody maps; returns how many. Called when memory is out.
size_t cache_reclaim(size_t pages);
size_t cache_pages(void); // how many could be dropped

// Boot: mounts ramfs on /, devfs on /dev, unpacks bootfs, opens /dev/console as 0, 1, 2 of `files`.
void files_boot(struct files *files);

// The end: unmounts what nobody uses any more, and leaves the rest whole. Is there such a rest that
// programs could still change?
bool files_to_finish(void);
void files_shutdown(void);
