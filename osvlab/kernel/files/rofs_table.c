// ROFS, the structure area: directory entries, links and inodes, read with every bound checked.
//
// Invariant: after rofs_tables_check, each entry and each link lies inside the area, names are
// names, and entries refer to inodes that are in the table. What inodes say is checked when they
// are used (rofs.c).

#include "rofs.h"

void rofs_cursor_done(struct rofs_cursor *cursor) {
    if (cursor->page != NULL)
        page_put(cursor->page);
    cursor->page = NULL;
}

static int cursor_move(struct rofs_cursor *cursor, u64 index) {
    if (cursor->page != NULL && cursor->index == index)
        return 0;
    rofs_cursor_done(cursor);
    struct rofs *rofs = cursor->rofs;
    struct rofs_extent extent = {0, rofs->super.structure_first_block, rofs->structure_size};
    int error;
    cursor->page = rofs_page(rofs, &extent, index, &error);
    cursor->index = index;
    return cursor->page == NULL ? error : 0;
}

int rofs_cursor_read(struct rofs_cursor *cursor, u64 offset, void *out, size_t size) {
    u64 end = cursor->rofs->structure_size;
    if (size > end || offset > end - size)
        return -EINVAL;
    while (size > 0) {
        int status = cursor_move(cursor, offset / PAGE_SIZE);
        if (status < 0)
            return status;
        size_t piece = MIN(size, PAGE_SIZE - offset % PAGE_SIZE);
        memcpy(out, (u8 *)page_address(cursor->page) + offset % PAGE_SIZE, piece);
        out = (u8 *)out + piece;
        offset += piece;
        size -= piece;
    }
    return 0;
}

int rofs_entry_read(struct rofs_cursor *cursor, u64 offset, struct rofs_entry *out) {
    u8 header[ROFS_ENTRY_HEADER];
    int status = rofs_cursor_read(cursor, offset, header, sizeof(header));
    if (status < 0)
        return status;
    memcpy(&out->inode, header, 8);
    memcpy(&out->length, header + 8, 2);
    if (out->length > NAME_MAX)
        return -EINVAL;
    out->next = offset + sizeof(header) + out->length;
    out->name[out->length] = '\0';
    return rofs_cursor_read(cursor, offset + sizeof(header), out->name, out->length);
}

// Walks from the mark before entry `number` to it.
int rofs_entry_offset(struct rofs_cursor *cursor, u64 number, u64 *offset) {
    struct rofs *rofs = cursor->rofs;
    if (number >= rofs->super.directory_entries)
        return -EINVAL;
    *offset = rofs->entry_marks[number / ROFS_STRIDE];
    for (u64 i = number % ROFS_STRIDE; i > 0; i--) {
        u16 length;
        int status = rofs_cursor_read(cursor, *offset + 8, &length, sizeof(length));
        if (status < 0)
            return status;
        *offset += ROFS_ENTRY_HEADER + length;
    }
    return 0;
}

static int link_offset(struct rofs_cursor *cursor, u64 number, u64 *offset) {
    *offset = cursor->rofs->link_marks[number / ROFS_STRIDE];
    for (u64 i = number % ROFS_STRIDE; i > 0; i--) {
        u16 length;
        int status = rofs_cursor_read(cursor, *offset, &length, sizeof(length));
        if (status < 0)
            return status;
        *offset += ROFS_LINK_HEADER + length;
    }
    return 0;
}

// The target of a link, without NUL: its length, at most `size`.
long rofs_link_read(struct rofs *rofs, u64 number, char *out, size_t size) {
    struct rofs_cursor cursor = {.rofs = rofs};
    u64 offset = 0;
    u16 length = 0;
    int status = number < rofs->super.symlinks ? link_offset(&cursor, number, &offset) : -EINVAL;
    if (status == 0)
        status = rofs_cursor_read(&cursor, offset, &length, sizeof(length));
    if (status == 0)
        status =
            rofs_cursor_read(&cursor, offset + ROFS_LINK_HEADER, out, MIN(size, (size_t)length));
    rofs_cursor_done(&cursor);
    return status < 0 ? status : (long)MIN(size, (size_t)length);
}

int rofs_inode_read(struct rofs_cursor *cursor, u64 number, struct rofs_inode *out) {
    if (number == 0 || number > cursor->rofs->super.inodes)
        return -EINVAL;
    return rofs_cursor_read(cursor, cursor->rofs->inode_table + (number - 1) * sizeof(*out), out,
                            sizeof(*out));
}

// --- The check at mount: one walk through the tables ---

static const char *entry_problem(const struct rofs *rofs, const struct rofs_entry *entry) {
    if (entry->inode == 0 || entry->inode > rofs->super.inodes)
        return "refers to an inode that does not exist";
    if (entry->length == 0)
        return "has no name";
    for (u16 i = 0; i < entry->length; i++)
        if (entry->name[i] == '/' || entry->name[i] == '\0')
            return "has an impossible name";
    if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
        return "has a reserved name";
    return NULL;
}

static int check_entries(struct rofs *rofs, struct rofs_cursor *cursor, u64 *offset) {
    for (u64 i = 0; i < rofs->super.directory_entries; i++) {
        if (i % ROFS_STRIDE == 0)
            rofs->entry_marks[i / ROFS_STRIDE] = *offset;
        struct rofs_entry entry;
        int status = rofs_entry_read(cursor, *offset, &entry);
        if (status == -EINVAL)
            kprintf(
                "[rofs] directory entry table truncated: entry %lu or its name is out of bounds\n",
                i);
        if (status < 0)
            return status;
        const char *problem = entry_problem(rofs, &entry);
        if (problem != NULL) {
            kprintf("[rofs] directory entry %lu %s\n", i, problem);
            return -EINVAL;
        }
        rofs_index_add(rofs, i, entry.name, entry.length);
        *offset = entry.next;
    }
    return 0;
}

static int check_links(struct rofs *rofs, struct rofs_cursor *cursor, u64 *offset) {
    for (u64 i = 0; i < rofs->super.symlinks; i++) {
        if (i % ROFS_STRIDE == 0)
            rofs->link_marks[i / ROFS_STRIDE] = *offset;
        u16 length;
        int status = rofs_cursor_read(cursor, *offset, &length, sizeof(length));
        if (status == -EINVAL ||
            (status == 0 && rofs->structure_size - *offset - ROFS_LINK_HEADER < length)) {
            kprintf("[rofs] symlink table truncated: link %lu is out of bounds\n", i);
            return -EINVAL;
        }
        if (status < 0)
            return status;
        if (length == 0 || length >= PATH_MAX) {
            kprintf("[rofs] symlink %lu has a target of %u bytes\n", i, length);
            return -EINVAL;
        }
        *offset += ROFS_LINK_HEADER + length;
    }
    return 0;
}

static int check_inodes(struct rofs *rofs, u64 offset) {
    rofs->inode_table = offset;
    if (rofs->super.inodes == 0 ||
        rofs->super.inodes > (rofs->structure_size - offset) / sizeof(struct rofs_inode)) {
        kprintf("[rofs] inode table out of bounds: %lu inodes at byte %lu of %lu\n",
                rofs->super.inodes, offset, rofs->structure_size);
        return -EINVAL;
    }
    return 0;
}

int rofs_tables_check(struct rofs *rofs) {
    // Before memory is asked for: can so many entries be there at all?
    if (rofs->super.directory_entries > rofs->structure_size / (ROFS_ENTRY_HEADER + 1) ||
        rofs->super.symlinks > rofs->structure_size / (ROFS_LINK_HEADER + 1)) {
        kprintf(
            "[rofs] directory entry table truncated: %lu entries and %lu symlinks in %lu bytes\n",
            rofs->super.directory_entries, rofs->super.symlinks, rofs->structure_size);
        return -EINVAL;
    }
    rofs->entry_marks = kzalloc((rofs->super.directory_entries / ROFS_STRIDE + 1) * sizeof(u64));
    rofs->link_marks = kzalloc((rofs->super.symlinks / ROFS_STRIDE + 1) * sizeof(u64));
    if (rofs->entry_marks == NULL || rofs->link_marks == NULL)
        return -ENOMEM;
    rofs_index_make(rofs);
    struct rofs_cursor cursor = {.rofs = rofs};
    u64 offset = 0;
    int status = check_entries(rofs, &cursor, &offset);
    if (status == 0)
        status = check_links(rofs, &cursor, &offset);
    if (status == 0)
        status = check_inodes(rofs, offset);
    rofs_cursor_done(&cursor);
    return status;
}
