// /fs: room on the filesystems.

#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>

#include "api.h"

static void add(struct buffer *out, const struct mntent *mount, const struct statfs *room) {
    json_open(out, '{');
    json_text_member(out, "filesystem", mount->mnt_fsname);
    json_text_member(out, "mount", mount->mnt_dir);
    json_number_member(out, "btotal", (long long)room->f_blocks);
    json_number_member(out, "bfree", (long long)room->f_bfree);
    json_number_member(out, "ftotal", (long long)room->f_files);
    json_number_member(out, "ffree", (long long)room->f_ffree);
    json_number_member(out, "blocksize", (long long)room->f_bsize);
    json_close(out, '}');
}

// All mounts that have blocks at all, or the one called `wanted`. How many there were.
static int list(struct call *call, const char *wanted) {
    int found = 0;
    FILE *mounts = setmntent("/proc/mounts", "re");
    const struct mntent *mount;
    json_open(&call->reply.body, '[');
    while (mounts && (mount = getmntent(mounts))) {
        struct statfs room;
        if ((wanted && strcmp(wanted, mount->mnt_dir)) || statfs(mount->mnt_dir, &room) ||
            (!wanted && !room.f_blocks))
            continue;
        add(&call->reply.body, mount, &room);
        found++;
        if (wanted)
            break;
    }
    if (mounts)
        endmntent(mounts);
    json_close(&call->reply.body, ']');
    return found;
}

void fs_df(struct call *call) {
    list(call, NULL);
}

void fs_df_one(struct call *call) {
    if (!list(call, *call->captured ? call->captured : "/"))
        reply_error(call, 404, "mount does not exist");
}
