// multipart/form-data: see multipart.h.
//
// Invariant: `matched` bytes of the mark "\r\n--boundary" have been seen and not passed on. A
// boundary has no CR, so when the mark turns out not to be one, those bytes are data, and only
// the byte in hand can begin it anew.

#include "multipart.h"

#include <string.h>
#include <strings.h>

// The value of a parameter `name` of a header field: a token or a quoted string.
static bool find_parameter(const char *text, size_t length, const char *name, char *out,
                           size_t size) {
    size_t at = 0, wanted = strlen(name);
    while (at < length) {
        while (at < length && text[at] != ';')
            at++;
        while (at < length && (text[at] == ';' || text[at] == ' ' || text[at] == '\t'))
            at++;
        bool found = length - at > wanted && !strncasecmp(text + at, name, wanted) &&
                     text[at + wanted] == '=';
        while (at < length && text[at] != '=' && text[at] != ';')
            at++;
        if (at >= length || text[at] == ';')
            continue;
        bool quoted = ++at < length && text[at] == '"';
        size_t used = 0;
        for (at += quoted; at < length && text[at] != (quoted ? '"' : ';'); at++) {
            if (quoted && text[at] == '\\' && at + 1 < length)
                at++;
            if (used + 1 < size)
                out[used] = text[at];
            used++;
        }
        if (found) {
            while (!quoted && used && used < size && out[used - 1] == ' ')
                used--;
            out[used < size ? used : size - 1] = 0;
            return used < size;
        }
    }
    return false;
}

bool multipart_begin(struct multipart *m, const char *type, size_t length,
                     const struct multipart_events *events, void *argument) {
    static const char kind[] = "multipart/form-data";
    char boundary[BOUNDARY_LIMIT + 1];
    if (length < sizeof(kind) || strncasecmp(type, kind, sizeof(kind) - 1) ||
        !find_parameter(type, length, "boundary", boundary, sizeof(boundary)) || !boundary[0] ||
        strpbrk(boundary, "\r\n"))
        return false;
    memset(m, 0, sizeof(*m));
    m->events = events;
    m->argument = argument;
    memcpy(m->mark, "\r\n--", 4);
    strcpy(m->mark + 4, boundary);
    m->mark_length = strlen(m->mark);
    m->matched = 2; // the first mark may stand without a line end before it
    return true;
}

static int give(struct multipart *m, const char *bytes, size_t count) {
    return m->in_part && count ? m->events->data(m->argument, bytes, count) : 0;
}

// Data up to the next mark. Says in *taken how far that was.
static int take_data(struct multipart *m, const char *bytes, size_t count, size_t *taken) {
    size_t at = 0;
    int status = 0;
    while (at < count && !status && m->state == PART_DATA) {
        if (!m->matched) {
            const char *cr = memchr(bytes + at, '\r', count - at);
            size_t plain = cr ? (size_t)(cr - bytes) - at : count - at;
            status = give(m, bytes + at, plain);
            at += plain + (cr != NULL);
            m->matched = cr != NULL;
        } else if (bytes[at] == m->mark[m->matched]) {
            at++;
            if (++m->matched == m->mark_length) {
                m->state = PART_MARK;
                status = m->in_part ? m->events->end(m->argument) : 0;
                m->in_part = false;
            }
        } else {
            size_t seen = m->matched;
            m->matched = 0;
            status = give(m, m->mark, seen);
        }
    }
    *taken = at;
    return status;
}

static int finish_line(struct multipart *m) {
    static const char disposition[] = "content-disposition:";
    size_t skip = sizeof(disposition) - 1;
    if (!m->line_length) {
        m->in_part = true;
        m->state = PART_DATA;
        m->matched = 0;
        return m->events->begin(m->argument, m->name, m->has_file_name ? m->file_name : NULL);
    }
    if (m->line_length > skip && !strncasecmp(m->line, disposition, skip)) {
        find_parameter(m->line + skip, m->line_length - skip, "name", m->name, sizeof(m->name));
        m->has_file_name = find_parameter(m->line + skip, m->line_length - skip, "filename",
                                          m->file_name, sizeof(m->file_name));
    }
    m->line_length = 0;
    return 0;
}

static int take_head(struct multipart *m, char c) {
    if (++m->head_length > PART_HEAD_LIMIT)
        return 431;
    if (c == '\n') {
        if (m->line_length && m->line[m->line_length - 1] == '\r')
            m->line_length--;
        return finish_line(m);
    }
    if (m->line_length == sizeof(m->line))
        return 431;
    m->line[m->line_length++] = c;
    return 0;
}

static void new_head(struct multipart *m) {
    m->state = PART_HEAD;
    m->line_length = m->head_length = 0;
    m->name[0] = m->file_name[0] = 0;
    m->has_file_name = false;
}

int multipart_feed(struct multipart *m, const char *bytes, size_t count) {
    size_t at = 0;
    int status = 0;
    while (at < count && !status) {
        size_t taken = 1;
        char c = bytes[at];
        switch (m->state) {
        case PART_DATA:
            status = take_data(m, bytes + at, count - at, &taken);
            break;
        case PART_MARK: // what follows a mark: "--" ends all, blanks and a line end begin a part
            if (c == '-')
                m->state = PART_MARK_DASH;
            else if (c == '\r')
                m->state = PART_MARK_LF;
            else if (c != ' ' && c != '\t')
                status = 400;
            break;
        case PART_MARK_DASH:
            m->state = PART_DONE;
            status = c == '-' ? 0 : 400;
            break;
        case PART_MARK_LF:
            new_head(m);
            status = c == '\n' ? 0 : 400;
            break;
        case PART_HEAD:
            status = take_head(m, c);
            break;
        case PART_DONE: // the epilogue is to be ignored
            return 0;
        }
        at += taken;
    }
    return status;
}

bool multipart_ended(const struct multipart *m) {
    return m->state == PART_DONE;
}
