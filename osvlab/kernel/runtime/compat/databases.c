// The reentrant forms of the databases' readers: getpwent_r and its like (getpwnam(3), glibc's _r).
//
// Users and groups come from musl's readers, one after the other, and are copied into the caller's
// buffer. Protocols come from musl's tables, which live for ever, so only their heads are copied.
// There are no tables of services, networks or hosts to list, so their ends come at once.

#include "compat.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <string.h>

// A place in the caller's buffer.
struct room {
    char *at;
    size_t left;
};

static void *take(struct room *room, size_t size, size_t alignment) {
    size_t skip = -(size_t)room->at & (alignment - 1);
    if (skip > room->left || size > room->left - skip)
        return NULL;
    void *place = room->at + skip;
    room->at += skip + size;
    room->left -= skip + size;
    return place;
}

static bool copy(struct room *room, char **text) {
    size_t size = strlen(*text) + 1;
    char *place = take(room, size, 1);
    if (place)
        *text = memcpy(place, *text, size);
    return place;
}

EXPORT int getpwent_r(struct passwd *entry, char *buffer, size_t size, struct passwd **result) {
    struct room room = {buffer, size};
    struct passwd *next = getpwent();
    *result = NULL;
    if (!next)
        return ENOENT;
    *entry = *next;
    if (!copy(&room, &entry->pw_name) || !copy(&room, &entry->pw_passwd) ||
        !copy(&room, &entry->pw_gecos) || !copy(&room, &entry->pw_dir) ||
        !copy(&room, &entry->pw_shell))
        return ERANGE;
    *result = entry;
    return 0;
}

static bool copy_members(struct room *room, char ***members) {
    size_t count = 0;
    while ((*members)[count])
        count++;
    char **place = take(room, (count + 1) * sizeof(*place), sizeof(*place));
    if (!place)
        return false;
    memcpy(place, *members, (count + 1) * sizeof(*place));
    for (size_t i = 0; i < count; i++)
        if (!copy(room, &place[i]))
            return false;
    *members = place;
    return true;
}

EXPORT int getgrent_r(struct group *entry, char *buffer, size_t size, struct group **result) {
    struct room room = {buffer, size};
    struct group *next = getgrent();
    *result = NULL;
    if (!next)
        return ENOENT;
    *entry = *next;
    if (!copy_members(&room, &entry->gr_mem) || !copy(&room, &entry->gr_name) ||
        !copy(&room, &entry->gr_passwd))
        return ERANGE;
    *result = entry;
    return 0;
}

static int give_protocol(const struct protoent *found, struct protoent *entry,
                         struct protoent **result) {
    *result = NULL;
    if (!found)
        return ENOENT;
    *entry = *found;
    *result = entry;
    return 0;
}

EXPORT int getprotobyname_r(const char *name, struct protoent *entry, char *buffer, size_t size,
                            struct protoent **result) {
    (void)buffer, (void)size;
    return give_protocol(getprotobyname(name), entry, result);
}

EXPORT int getprotobynumber_r(int number, struct protoent *entry, char *buffer, size_t size,
                              struct protoent **result) {
    (void)buffer, (void)size;
    return give_protocol(getprotobynumber(number), entry, result);
}

EXPORT int getprotoent_r(struct protoent *entry, char *buffer, size_t size,
                         struct protoent **result) {
    (void)buffer, (void)size;
    return give_protocol(getprotoent(), entry, result);
}

EXPORT int getservent_r(struct servent *entry, char *buffer, size_t size, struct servent **result) {
    (void)entry, (void)buffer, (void)size;
    *result = NULL;
    return ENOENT;
}

static int none(void **result, int *error) {
    *result = NULL;
    *error = HOST_NOT_FOUND;
    return ENOENT;
}

EXPORT int gethostent_r(struct hostent *entry, char *buffer, size_t size, struct hostent **result,
                        int *error) {
    (void)entry, (void)buffer, (void)size;
    return none((void **)result, error);
}

EXPORT int getnetent_r(struct netent *entry, char *buffer, size_t size, struct netent **result,
                       int *error) {
    (void)entry, (void)buffer, (void)size;
    return none((void **)result, error);
}

EXPORT int getnetbyname_r(const char *name, struct netent *entry, char *buffer, size_t size,
                          struct netent **result, int *error) {
    (void)name, (void)entry, (void)buffer, (void)size;
    return none((void **)result, error);
}

EXPORT int getnetbyaddr_r(unsigned net, int type, struct netent *entry, char *buffer, size_t size,
                          struct netent **result, int *error) {
    (void)net, (void)type, (void)entry, (void)buffer, (void)size;
    return none((void **)result, error);
}
