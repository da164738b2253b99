// Path lookup: from a text like "../etc/./motd" to a vnode.
//
// Invariant: at every step `current` is a directory on which nothing is mounted, held by a
// reference. The remaining text only grows when a symbolic link is spliced in, which happens
// at most 40 times, so the walk ends.
// Semantics: path_resolution(7).

#include "vnode.h"

#define LINKS_MAX 40

struct walk {
    struct vnode *current;
    struct vnode *start;
    char *text; // PATH_MAX bytes
    char *at;   // what is still to be walked
    unsigned flags;
    int links;
};

static void step_to(struct walk *walk, struct vnode *next) {
    vnode_put(walk->current);
    walk->current = next;
}

// The directory above, also across the root of a mounted filesystem.
static struct vnode *parent_of(struct vnode *directory) {
    struct vnode *v = directory;
    while (v != names_root() && v->parent == NULL && v->mount->covers != NULL)
        v = v->mount->covers;
    if (v != names_root() && v->parent != NULL)
        v = v->parent;
    vnode_get(v);
    return mount_cross(v);
}

// Puts a link's target in front of what remains to be walked.
static int splice_link(struct walk *walk, struct vnode *link) {
    if (walk->flags & WALK_NO_LINKS || ++walk->links > LINKS_MAX)
        return -ELOOP;
    if (link->operations->follow != NULL) {
        struct vnode *target;
        int status = link->operations->follow(link, &target);
        if (status == 0)
            step_to(walk, target);
        if (status <= 0)
            return status;
    }
    char *target = path_text();
    if (target == NULL)
        return -ENOMEM;
    long length = link->operations->read_link(link, target, PATH_MAX - 1);
    size_t rest = strlen(walk->at);
    int status = 0;
    if (length < 0)
        status = (int)length;
    else if (length == 0)
        status = -ENOENT;
    else if ((size_t)length + 1 + rest + 1 > PATH_MAX)
        status = -ENAMETOOLONG;
    else {
        target[length] = '\0';
        memmove(walk->text + length + (rest > 0), walk->at, rest + 1);
        memcpy(walk->text, target, (size_t)length);
        if (rest > 0)
            walk->text[length] = '/';
        walk->at = walk->text;
        if (target[0] == '/') {
            if (walk->flags & WALK_BENEATH)
                status = -EXDEV;
            vnode_get(names_root());
            step_to(walk, names_root());
        }
    }
    path_text_free(target);
    return status;
}

static int look_up(struct walk *walk, const char *name, size_t length, struct vnode **out) {
    *out = NULL;
    struct vnode *directory = walk->current;
    if (length == 1 && name[0] == '.') {
        vnode_get(directory);
        *out = directory;
        return 0;
    }
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        if (walk->flags & WALK_BENEATH && directory == walk->start)
            return -EXDEV;
        *out = parent_of(directory);
        return 0;
    }
    if (length > NAME_MAX)
        return -ENAMETOOLONG;
    if (directory->operations->lookup == NULL)
        return -ENOENT;
    int status = directory->operations->lookup(directory, name, length, out);
    if (status == 0)
        *out = mount_cross(*out);
    return status;
}

// Describes the last component to the caller.
static void fill_last(struct path *out, struct walk *walk, const char *name, size_t length,
                      bool slash) {
    out->slash = slash;
    out->length = MIN(length, (size_t)NAME_MAX);
    memcpy(out->name, name, out->length);
    out->name[out->length] = '\0';
    out->last = strcmp(out->name, ".") == 0    ? LAST_DOT
                : strcmp(out->name, "..") == 0 ? LAST_DOTDOT
                                               : LAST_NAME;
    out->directory = walk->current;
}

// One component. 1: the walk has arrived; 0: go on; < 0: error.
static int step(struct walk *walk, struct path *out) {
    char *name = walk->at;
    size_t length = 0;
    while (name[length] != '/' && name[length] != '\0')
        length++;
    char *rest = name + length;
    while (*rest == '/')
        rest++;
    bool last = *rest == '\0', slash = last && rest != name + length;
    if (!vnode_is(walk->current, S_IFDIR))
        return -ENOTDIR;
    struct vnode *found;
    int status = look_up(walk, name, length, &found);
    if (status == -ENOENT && last && walk->flags & WALK_MAY_MISS) {
        fill_last(out, walk, name, length, slash);
        return 1;
    }
    if (status < 0)
        return status;
    bool link = vnode_is(found, S_IFLNK);
    if (link && (!last || walk->flags & WALK_FOLLOW || (slash && !(walk->flags & WALK_NO_SLASH)))) {
        walk->at = slash ? rest - 1 : rest; // the slash at the end stays, to be obeyed
        status = splice_link(walk, found);
        vnode_put(found);
        return status;
    }
    if (!last) {
        walk->at = rest;
        step_to(walk, found);
        return 0;
    }
    if (slash && !vnode_is(found, S_IFDIR) && !link) {
        vnode_put(found);
        return -ENOTDIR;
    }
    fill_last(out, walk, name, length, slash);
    out->vnode = found;
    return 1;
}

// Nothing is left to walk: the path was "/", or ended in a link to "/" or to an open file.
static int arrive(struct walk *walk, struct path *out, bool slash) {
    if (slash && !vnode_is(walk->current, S_IFDIR))
        return -ENOTDIR;
    out->directory = out->vnode = walk->current;
    vnode_get(walk->current);
    out->last = LAST_ROOT;
    out->slash = slash;
    return 0;
}

int path_walk(struct vnode *start, char *text, unsigned flags, struct path *out) {
    memset(out, 0, sizeof(*out));
    if (*text == '\0')
        return -ENOENT;
    if (*text == '/' && flags & WALK_BENEATH)
        return -EXDEV;
    struct vnode *from = *text == '/' ? names_root() : start;
    struct walk walk = {.current = from, .start = start, .text = text, .at = text, .flags = flags};
    vnode_get(from);
    int status = 0;
    while (status == 0) {
        bool slash = *walk.at == '/';
        while (*walk.at == '/')
            walk.at++;
        if (*walk.at == '\0') {
            status = arrive(&walk, out, slash);
            break;
        }
        status = step(&walk, out);
    }
    if (status < 0) {
        vnode_put(walk.current);
        memset(out, 0, sizeof(*out));
    }
    return MIN(status, 0);
}

void path_done(struct path *path) {
    vnode_put(path->vnode);
    vnode_put(path->directory);
    path->vnode = path->directory = NULL;
}

char *path_text(void) {
    _Static_assert(PATH_MAX <= PAGE_SIZE, "a path fits a page");
    return pages_allocate(1);
}

void path_text_free(char *text) {
    if (text != NULL)
        pages_free(text, 1);
}

int path_find(const char *path, struct vnode **out) {
    *out = NULL;
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    format_string(text, PATH_MAX, "%s", path);
    struct path found;
    names_lock();
    int status = path_walk(names_root(), text, WALK_FOLLOW, &found);
    names_unlock();
    path_text_free(text);
    if (status < 0)
        return status;
    vnode_get(found.vnode);
    *out = found.vnode;
    path_done(&found);
    return 0;
}

// --- For system calls ---

char *path_copy_in(const char *user, int *error) {
    char *text = path_text();
    if (text == NULL) {
        *error = -ENOMEM;
        return NULL;
    }
    int length = user_string(text, user, PATH_MAX);
    if (length < 0) {
        path_text_free(text);
        *error = length;
        return NULL;
    }
    return text;
}

// Where a relative path begins.
static int starting_point(int descriptor, const char *text, struct vnode **out) {
    if (*text == '/') {
        *out = names_root();
        vnode_get(*out);
        return 0;
    }
    if (descriptor == AT_FDCWD) {
        *out = files_directory(files_current());
        return 0;
    }
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    *out = file->vnode;
    vnode_get(*out);
    file_put(file);
    if (!vnode_is(*out, S_IFDIR)) {
        vnode_put(*out);
        return -ENOTDIR;
    }
    return 0;
}

int path_at_locked(int descriptor, char *text, unsigned flags, struct path *out) {
    if (*text == '\0')
        return -ENOENT;
    struct vnode *start;
    int status = starting_point(descriptor, text, &start);
    if (status == 0) {
        status = path_walk(start, text, flags, out);
        vnode_put(start);
    }
    return status;
}

int path_at_text(int descriptor, char *text, unsigned flags, struct path *out) {
    names_lock();
    int status = path_at_locked(descriptor, text, flags, out);
    if (status < 0)
        names_unlock();
    return status;
}

int path_at(int descriptor, const char *user, unsigned flags, struct path *out) {
    int error = 0;
    char *text = path_copy_in(user, &error);
    if (text == NULL)
        return error;
    error = path_at_text(descriptor, text, flags, out);
    path_text_free(text);
    return error;
}

static int vnode_of_descriptor(int descriptor, struct vnode **out) {
    if (descriptor == AT_FDCWD) {
        *out = files_directory(files_current());
        return 0;
    }
    struct file *file = file_of(descriptor);
    if (file == NULL)
        return -EBADF;
    *out = file->vnode;
    vnode_get(*out);
    file_put(file);
    return 0;
}

int vnode_at(int descriptor, const char *user, unsigned flags, bool empty_ok, struct vnode **out) {
    *out = NULL;
    int error = 0;
    char *text = path_copy_in(user, &error);
    if (text == NULL)
        return error;
    if (*text == '\0' && empty_ok) {
        error = vnode_of_descriptor(descriptor, out);
    } else {
        struct path path;
        error = path_at_text(descriptor, text, flags, &path);
        if (error == 0) {
            names_unlock();
            vnode_get(path.vnode);
            *out = path.vnode;
            path_done(&path);
        }
    }
    path_text_free(text);
    return error;
}
