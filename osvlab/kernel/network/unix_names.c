// Names of AF_UNIX sockets: files of type S_IFSOCK, and abstract names that begin with a NUL
// (unix(7), "Address format").
//
// Invariant: the table holds every bound socket. A name in the filesystem is known by its vnode, on
// which the socket holds a reference, so renaming the file does not lose the socket. The tree of
// names is locked inside the network lock.

#include "unix.h"

#include "files/vnode.h"
#include "thread.h"

static struct list names = LIST(names);

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

static bool is_abstract(const struct sockaddr_un *address) {
    return address->sun_path[0] == '\0';
}

static struct unix_socket *find_abstract(const struct sockaddr_un *name, socklen_t size) {
    LIST_EACH(&names, u, struct unix_socket, in_names)
    if (u->vnode == NULL && u->name_size == size && memcmp(&u->name, name, size) == 0)
        return u;
    return NULL;
}

static struct unix_socket *find_vnode(const struct vnode *vnode) {
    LIST_EACH(&names, u, struct unix_socket, in_names)
    if (u->vnode == vnode)
        return u;
    return NULL;
}

// --- The filesystem's part ---

// Walks to the path, which need not end in a NUL. On success the names are locked.
static int walk(const struct sockaddr_un *address, socklen_t size, unsigned flags,
                struct path *out) {
    char *text = path_text();
    if (text == NULL)
        return -ENOMEM;
    memcpy(text, address->sun_path, size - PATH_AT);
    int status = path_at_text(AT_FDCWD, text, flags, out);
    path_text_free(text);
    return status;
}

static int make_node(const struct sockaddr_un *address, socklen_t size, struct vnode **out) {
    struct path path;
    int status = walk(address, size, WALK_MAY_MISS | WALK_NO_SLASH, &path);
    if (status < 0)
        return status;
    const struct vnode_operations *operations = path.directory->operations;
    if (path.vnode != NULL)
        status = -EADDRINUSE;
    else if (path.slash)
        status = -ENOENT;
    else if (!vnode_is(path.directory, S_IFDIR))
        status = -ENOTDIR;
    else
        status = vnode_check_writable(path.directory);
    if (status == 0)
        status = operations->create == NULL
                     ? -EPERM
                     : operations->create(path.directory, path.name, path.length,
                                          S_IFSOCK | (0777 & ~files_mask(files_current())), 0, out);
    names_unlock();
    path_done(&path);
    return status;
}

static int find_path(const struct sockaddr_un *address, socklen_t size, struct unix_socket **out) {
    struct path path;
    int status = walk(address, size, WALK_FOLLOW, &path);
    if (status < 0)
        return status;
    names_unlock();
    *out = vnode_is(path.vnode, S_IFSOCK) ? find_vnode(path.vnode) : NULL;
    path_done(&path);
    return *out == NULL ? -ECONNREFUSED : 0;
}

// --- bind ---

// A name of five digits that nobody has: for who binds to no name in particular.
static int bind_automatically(struct unix_socket *u) {
    static u32 next;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = PATH_AT + 6;
    for (u32 tries = 0; tries < 1 << 20; tries++) {
        format_string(name.sun_path + 1, sizeof(name.sun_path) - 1, "%05x", next++ & 0xfffff);
        if (find_abstract(&name, size) != NULL)
            continue;
        u->name = name;
        u->name_size = size;
        list_append(&names, &u->in_names);
        return 0;
    }
    return -ENOSPC;
}

// A socket has one name. Linux finds out only after it has looked at the path.
static int why_not_again(const struct sockaddr_un *address, socklen_t size) {
    struct path path;
    int status = walk(address, size, WALK_MAY_MISS | WALK_NO_SLASH, &path);
    if (status < 0)
        return status;
    names_unlock();
    status = path.vnode != NULL ? -EADDRINUSE : -EINVAL;
    path_done(&path);
    return status;
}

static int check(const struct sockaddr *address, socklen_t size) {
    if (size < PATH_AT || size > sizeof(struct sockaddr_un) || address->sa_family != AF_UNIX)
        return -EINVAL;
    return 0;
}

int unix_bind(struct socket *socket, const struct sockaddr *address, socklen_t size) {
    struct unix_socket *u = unix_of(socket);
    const struct sockaddr_un *name = (const void *)address;
    int status = check(address, size);
    if (status < 0)
        return status;
    if (u->name_size != 0)
        return size == PATH_AT ? 0 : is_abstract(name) ? -EINVAL : why_not_again(name, size);
    if (size == PATH_AT)
        return bind_automatically(u);
    if (is_abstract(name))
        status = find_abstract(name, size) != NULL ? -EADDRINUSE : 0;
    else
        status = make_node(name, size, &u->vnode);
    if (status < 0)
        return status;
    memcpy(&u->name, name, size);
    u->name_size = size;
    if (!is_abstract(name)) // told with the NUL that ends it
        u->name_size = (socklen_t)(PATH_AT + strnlen(u->name.sun_path, size - PATH_AT) + 1);
    list_append(&names, &u->in_names);
    return 0;
}

void unix_forget_name(struct unix_socket *u) {
    list_remove(&u->in_names);
    vnode_put(u->vnode);
    u->vnode = NULL;
}

// --- Looking up ---

int unix_find(const struct sockaddr *address, socklen_t size, const struct protocol *protocol,
              struct unix_socket **out) {
    const struct sockaddr_un *name = (const void *)address;
    int status = check(address, size);
    if (status < 0 || size == PATH_AT)
        return -EINVAL;
    if (is_abstract(name)) {
        *out = find_abstract(name, size);
        status = *out == NULL ? -ECONNREFUSED : 0;
    } else {
        status = find_path(name, size, out);
    }
    if (status == 0 && (*out)->socket->protocol != protocol)
        status = -EPROTOTYPE;
    return status;
}

int unix_name(struct socket *socket, bool peer, struct sockaddr_storage *out, socklen_t *size) {
    const struct unix_socket *u = unix_of(socket), *named = peer ? u->peer : u;
    if (peer && u->peer == NULL && !u->connected)
        return -ENOTCONN;
    out->ss_family = AF_UNIX;
    *size = PATH_AT;
    if (named != NULL && named->name_size != 0) {
        memcpy(out, &named->name, sizeof(named->name));
        *size = named->name_size;
    }
    return 0;
}
