// The machinery of procfs and sysfs: see pseudo.h.
//
// Invariant: a vnode here holds nothing but its numbers; whether its process still lives is
// looked up every time. A file's text is made when it is opened and whenever it is read from the
// beginning again, so one who reads in pieces sees one text.

#include "pseudo.h"

#include "thread.h"

// --- Texts ---

void text_add(struct text *text, const char *format, ...) {
    while (!text->no_memory) {
        va_list list;
        va_start(list, format);
        size_t room = text->size - text->used;
        size_t length = (size_t)format_list(text->bytes + text->used, room, format, list);
        va_end(list);
        if (length < room) {
            text->used += length;
            return;
        }
        size_t size = MAX(text->size * 2, text->used + length + 256);
        char *bytes = krealloc(text->bytes, size);
        text->no_memory = bytes == NULL;
        if (bytes != NULL) {
            text->bytes = bytes;
            text->size = size;
        }
    }
}

static int text_make(struct text *text, const struct pseudo_entry *entry, int pid) {
    *text = (struct text){.bytes = kzalloc(512), .size = 512};
    if (text->bytes == NULL)
        return -ENOMEM;
    entry->write(text, pid);
    if (text->no_memory)
        kfree(text->bytes);
    return text->no_memory ? -ENOMEM : 0;
}

// --- Processes ---

struct pid_list {
    int *pids;
    size_t count, size;
};

static void collect_pid(struct process *process, void *argument) {
    struct pid_list *list = argument;
    size_t at = list->count;
    if (at == list->size)
        return;
    for (; at > 0 && list->pids[at - 1] > process->pid; at--)
        list->pids[at] = list->pids[at - 1];
    list->pids[at] = process->pid;
    list->count++;
}

size_t process_pids(int *out, size_t size) {
    struct pid_list list = {.pids = out, .size = size};
    processes_each(collect_pid, &list);
    return list.count;
}

static void collect_view(struct process *process, void *argument) {
    struct process_view *view = argument;
    if (process->pid != view->pid)
        return;
    view->threads = 0;
    for (struct list *at = process->threads.next; at != NULL && at != &process->threads;
         at = at->next)
        view->threads++;
    view->parent = process->parent == NULL ? 0 : process->parent->pid;
    view->dead = process->dead;
    memcpy(view->name, process->name, sizeof(view->name));
}

bool process_view(int pid, struct process_view *out) {
    *out = (struct process_view){.pid = pid, .threads = -1};
    processes_each(collect_view, out);
    return out->threads >= 0;
}

// --- From numbers to vnodes ---

static const struct vnode_operations operations;
static const struct file_operations file_operations;

static const struct pseudo_tree *tree_of(const struct vnode *vnode) {
    return vnode->mount->data;
}
static int pid_of(const struct vnode *vnode) {
    return (int)(vnode->inode >> PSEUDO_PID_SHIFT);
}
static u16 index_of(const struct vnode *vnode) {
    return (u16)((vnode->inode & 0x7fff) - 1);
}
static bool is_descriptor(const struct vnode *vnode) {
    return vnode->inode & PSEUDO_FD;
}
static const struct pseudo_entry *entry_of(const struct vnode *vnode) {
    return &tree_of(vnode)->entries[index_of(vnode)];
}

static void release(struct vnode *vnode) {
    kfree(vnode);
}

static int get_vnode(struct mount *mount, u64 inode, u32 mode, struct vnode *parent,
                     const char *name, struct vnode **out) {
    *out = vnode_find(mount, inode);
    if (*out != NULL)
        return 0;
    struct vnode *vnode = kzalloc(sizeof(*vnode));
    if (vnode == NULL)
        return -ENOMEM;
    vnode_init(vnode, mount, inode, mode, &operations, &file_operations);
    int status = parent == NULL ? 0 : vnode_set_name(vnode, parent, name, strlen(name));
    if (status < 0) {
        kfree(vnode);
        return status;
    }
    vnode->links = 1; // for a directory: "not counted"
    *out = vnode_insert(vnode);
    return 0;
}

static bool same(const char *name, size_t length, const char *other) {
    return strlen(other) == length && memcmp(name, other, length) == 0;
}

// A number without leading zeros, or -1.
static int number_in(const char *name, size_t length) {
    int value = 0;
    if (length == 0 || length > 7 || (length > 1 && name[0] == '0'))
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        value = value * 10 + (name[i] - '0');
    }
    return value;
}

static u64 number_of(int pid, size_t index) {
    return (u64)pid << PSEUDO_PID_SHIFT | (index + 1);
}

// The descriptor tables of others may go away at any time, so only one's own is shown.
static struct file *descriptor_file(int pid, int descriptor) {
    return pid == current_process()->pid ? file_of(descriptor) : NULL;
}

static int lookup_descriptor(struct vnode *directory, const char *name, size_t length,
                             struct vnode **out) {
    int descriptor = number_in(name, length);
    struct file *file = descriptor < 0 ? NULL : descriptor_file(pid_of(directory), descriptor);
    if (file == NULL || descriptor >= (int)PSEUDO_FD)
        return -ENOENT;
    file_put(file);
    char text[12];
    format_string(text, sizeof(text), "%d", descriptor);
    return get_vnode(directory->mount,
                     (u64)pid_of(directory) << PSEUDO_PID_SHIFT | PSEUDO_FD | (u64)descriptor,
                     S_IFLNK | 0777, directory, text, out);
}

static int lookup_process(struct vnode *root, const char *name, size_t length, struct vnode **out) {
    const struct pseudo_tree *tree = tree_of(root);
    struct process_view view;
    int pid = number_in(name, length);
    if (pid <= 0 || !process_view(pid, &view))
        return -ENOENT;
    char text[12];
    format_string(text, sizeof(text), "%d", pid);
    return get_vnode(root->mount, number_of(pid, tree->process), tree->entries[tree->process].mode,
                     root, text, out);
}

static int lookup_thread(struct vnode *directory, const char *name, size_t length,
                         struct vnode **out) {
    const struct pseudo_tree *tree = tree_of(directory);
    struct thread_view view;
    int id = number_in(name, length);
    if (id < 0 || !thread_view(id, &view) || view.facts.pid != pid_of(directory))
        return -ENOENT;
    char text[12];
    format_string(text, sizeof(text), "%d", id);
    return get_vnode(directory->mount, number_of(id, tree->thread),
                     tree->entries[tree->thread].mode, directory, text, out);
}

// Whether the process or the thread still exists that a directory belongs to.
static bool has_owner(const struct vnode *directory) {
    struct process_view process;
    struct thread_view thread;
    if (pid_of(directory) == 0)
        return true;
    if (index_of(directory) == tree_of(directory)->thread)
        return thread_view(pid_of(directory), &thread);
    return process_view(pid_of(directory), &process);
}

// An entry that stands for many, whose names are numbers.
static bool is_numbered(const struct pseudo_tree *tree, size_t i) {
    return i == tree->process || i == tree->thread;
}

static int lookup(struct vnode *directory, const char *name, size_t length, struct vnode **out) {
    const struct pseudo_tree *tree = tree_of(directory);
    u16 parent = index_of(directory);
    if (!has_owner(directory))
        return -ENOENT;
    if (parent == tree->threads && parent != 0)
        return lookup_thread(directory, name, length, out);
    if (parent == tree->descriptors && parent != 0)
        return lookup_descriptor(directory, name, length, out);
    for (size_t i = 1; i < tree->count; i++) {
        const struct pseudo_entry *entry = &tree->entries[i];
        if (entry->parent == parent && !is_numbered(tree, i) && same(name, length, entry->name))
            return get_vnode(directory->mount, number_of(pid_of(directory), i), entry->mode,
                             directory, entry->name, out);
    }
    return parent == 0 && tree->process != 0 ? lookup_process(directory, name, length, out)
                                             : -ENOENT;
}

// --- Listing. Positions: 2 + i for entry i, then NUMBERS + n for process or descriptor n ---

#define NUMBERS 0x10000UL
#define PIDS_MAX 256

// The processes, or the threads of one.
static void list_numbers(struct vnode *directory, u16 entry, u64 position,
                         struct directory_reader *reader) {
    int *ids = kzalloc(PIDS_MAX * sizeof(*ids));
    size_t count = ids == NULL ? 0
                   : entry == tree_of(directory)->thread
                       ? thread_ids(pid_of(directory), ids, PIDS_MAX)
                       : process_pids(ids, PIDS_MAX);
    char name[12];
    for (size_t i = 0; i < count; i++) {
        u64 at = NUMBERS + (u64)ids[i];
        size_t length = (size_t)format_string(name, sizeof(name), "%d", ids[i]);
        if (at >= position &&
            !reader->entry(reader, at + 1, number_of(ids[i], entry), S_IFDIR, name, length))
            break;
    }
    kfree(ids);
}

static void list_descriptors(struct vnode *directory, u64 position,
                             struct directory_reader *reader) {
    char name[12];
    int first = position > NUMBERS ? (int)(position - NUMBERS) : 0;
    for (int i = first; i < DESCRIPTORS_HARD; i++) {
        struct file *file = descriptor_file(pid_of(directory), i);
        if (file == NULL)
            continue;
        file_put(file);
        size_t length = (size_t)format_string(name, sizeof(name), "%d", i);
        if (!reader->entry(reader, NUMBERS + (u64)i + 1, PSEUDO_FD | (u64)i, S_IFLNK, name, length))
            break;
    }
}

static int read_directory(struct vnode *directory, u64 position, struct directory_reader *reader) {
    const struct pseudo_tree *tree = tree_of(directory);
    u16 parent = index_of(directory);
    for (size_t i = MAX(position, 3UL) - 2; i < tree->count; i++) {
        const struct pseudo_entry *entry = &tree->entries[i];
        if (entry->parent != parent || is_numbered(tree, i))
            continue;
        if (!reader->entry(reader, i + 3, number_of(pid_of(directory), i), entry->mode, entry->name,
                           strlen(entry->name)))
            return 0;
    }
    if (parent == 0 && tree->process != 0)
        list_numbers(directory, tree->process, position, reader);
    else if (parent == tree->threads && parent != 0)
        list_numbers(directory, tree->thread, position, reader);
    else if (parent == tree->descriptors && parent != 0)
        list_descriptors(directory, position, reader);
    return 0;
}

// --- Links ---

static long read_link(struct vnode *vnode, char *out, size_t size) {
    if (is_descriptor(vnode)) {
        struct file *file = descriptor_file(pid_of(vnode), (int)(vnode->inode & 0x7fff));
        if (file == NULL)
            return -ENOENT;
        char *path = path_text();
        size_t length = path == NULL ? 0 : strlen(vnode_path(file->vnode, path, PATH_MAX));
        memcpy(out, path, MIN(size, length));
        path_text_free(path);
        file_put(file);
        return (long)MIN(size, length);
    }
    struct text text;
    int status = text_make(&text, entry_of(vnode), pid_of(vnode));
    if (status < 0)
        return status;
    size_t length = MIN(size, text.used);
    memcpy(out, text.bytes, length);
    kfree(text.bytes);
    return length == 0 ? -ENOENT : (long)length;
}

// A descriptor's link leads to the open file, whether it still has a name or never had one.
static int follow(struct vnode *vnode, struct vnode **out) {
    if (!is_descriptor(vnode))
        return 1; // by its text
    struct file *file = descriptor_file(pid_of(vnode), (int)(vnode->inode & 0x7fff));
    if (file == NULL)
        return -ENOENT;
    vnode_get(file->vnode);
    *out = file->vnode;
    file_put(file);
    return 0;
}

static const struct vnode_operations operations = {
    .lookup = lookup,
    .read_directory = read_directory,
    .read_link = read_link,
    .follow = follow,
    .release = release,
};

// --- Files ---

static int pseudo_open(struct file *file) {
    if (!vnode_is(file->vnode, S_IFREG))
        return 0;
    if (file_writable(file))
        return -EACCES;
    struct text *text = kzalloc(sizeof(*text));
    if (text == NULL)
        return -ENOMEM;
    int status = text_make(text, entry_of(file->vnode), pid_of(file->vnode));
    if (status < 0)
        kfree(text);
    else
        file->data = text;
    return status;
}

static void pseudo_close(struct file *file) {
    struct text *text = file->data;
    if (text != NULL)
        kfree(text->bytes);
    kfree(text);
}

static long pseudo_read(struct file *file, void *buffer, size_t size, u64 *position) {
    struct text *text = file->data, fresh;
    bool again =
        *position == 0 && text_make(&fresh, entry_of(file->vnode), pid_of(file->vnode)) == 0;
    mutex_lock(&file->vnode->lock); // pread does not hold the file's lock
    if (again) {
        kfree(text->bytes);
        *text = fresh;
    }
    size_t from = MIN(*position, text->used), length = MIN(size, text->used - from);
    char *piece = kzalloc(length + 1);
    if (piece != NULL)
        memcpy(piece, text->bytes + from, length);
    mutex_unlock(&file->vnode->lock);
    int status = piece == NULL ? -ENOMEM : user_write(buffer, piece, length);
    kfree(piece);
    if (status < 0)
        return status;
    *position = from + length;
    return (long)length;
}

static const struct file_operations file_operations = {
    .open = pseudo_open,
    .close = pseudo_close,
    .read = pseudo_read,
};

int pseudo_mount(struct mount *mount, const struct pseudo_tree *tree) {
    mount->data = (void *)tree;
    return get_vnode(mount, number_of(0, 0), tree->entries[0].mode, NULL, NULL, &mount->root);
}
