// /trace: counting what happens in the kernel. Only events that the kernel counts anyway are
// known, and they cannot be recorded: asking for that is answered with 501.

#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "proc.h"

static struct event {
    const char *name, *file, *key;
    bool counted;
    unsigned long long base; // where counting began
} events[] = {
    {.name = "sched_switch", .file = "/proc/stat", .key = "ctxt"},
    {.name = "interrupt", .file = "/proc/stat", .key = "intr"},
    {.name = "process_create", .file = "/proc/stat", .key = "processes"},
    {.name = "page_fault", .file = "/proc/vmstat", .key = "pgfault"},
};
#define EVENT_COUNT (sizeof(events) / sizeof(events[0]))

// What the kernel has counted since the boot. False: it does not count that.
static bool read_count(const struct event *event, unsigned long long *out) {
    struct buffer text = {0};
    size_t length = strlen(event->key);
    bool found = false;
    if (!proc_read(event->file, &text))
        return false;
    for (const char *line = text.bytes; line && !found; line = strchr(line, '\n')) {
        line += *line == '\n';
        found = !strncmp(line, event->key, length) && line[length] == ' ';
        if (found)
            *out = strtoull(line + length, NULL, 10);
    }
    buffer_free(&text);
    return found;
}

static struct event *find(struct call *call) {
    unsigned long long ignored;
    for (size_t i = 0; i < EVENT_COUNT; i++)
        if (!strcmp(events[i].name, call->captured) && read_count(&events[i], &ignored))
            return &events[i];
    reply_error(call, 404, "There is no event '%s'", call->captured);
    return NULL;
}

static void add(struct buffer *out, const struct event *event) {
    json_open(out, '{');
    json_text_member(out, "name", event->name);
    json_text_member(out, "id", event->name);
    json_key(out, "enabled");
    json_bool(out, false);
    json_key(out, "backtrace");
    json_bool(out, false);
    json_close(out, '}');
}

void trace_status(struct call *call) {
    const char *match = call_parameter(call, "match");
    regex_t pattern;
    unsigned long long ignored;
    if (match && regcomp(&pattern, match, REG_EXTENDED | REG_NOSUB)) {
        reply_error(call, 400, "Not a regular expression: '%s'", match);
        return;
    }
    json_open(&call->reply.body, '[');
    for (size_t i = 0; i < EVENT_COUNT; i++)
        if ((!match || !regexec(&pattern, events[i].name, 0, NULL, 0)) &&
            read_count(&events[i], &ignored))
            add(&call->reply.body, &events[i]);
    json_close(&call->reply.body, ']');
    if (match)
        regfree(&pattern);
}

// Everything is off already; on is what there is not.
static bool stays_off(struct call *call) {
    bool enabled, backtrace;
    if (!call_bool(call, "enabled", false, &enabled) ||
        !call_bool(call, "backtrace", false, &backtrace))
        return false;
    if (!enabled && !backtrace)
        return true;
    reply_error(call, 501, "This kernel counts events and does not record them: /trace/count");
    return false;
}

void trace_status_set(struct call *call) {
    if (stays_off(call))
        trace_status(call);
}

void trace_event(struct call *call) {
    const struct event *event = find(call);
    if (event)
        add(&call->reply.body, event);
}

void trace_event_set(struct call *call) {
    if (stays_off(call))
        trace_event(call);
}

void trace_count(struct call *call) {
    bool enabled;
    struct event *event = find(call);
    if (!event || !call_bool(call, "enabled", false, &enabled))
        return;
    if (enabled && !event->counted)
        read_count(event, &event->base);
    event->counted = enabled;
    reply_nothing(call);
}

void trace_counts(struct call *call) {
    struct buffer *out = &call->reply.body;
    struct timespec now;
    unsigned long long value;
    bool any = false;
    clock_gettime(CLOCK_REALTIME, &now);
    json_open(out, '{');
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        if (!events[i].counted || !read_count(&events[i], &value))
            continue;
        if (!any) {
            json_key(out, "list");
            json_open(out, '[');
        }
        any = true;
        json_open(out, '{');
        json_text_member(out, "name", events[i].name);
        json_number_member(out, "count", (long long)(value - events[i].base));
        json_close(out, '}');
    }
    if (any)
        json_close(out, ']');
    json_number_member(out, "time_ms", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    json_close(out, '}');
}

void trace_counts_drop(struct call *call) {
    for (size_t i = 0; i < EVENT_COUNT; i++)
        events[i].counted = false;
    reply_nothing(call);
}

void trace_sampler(struct call *call) {
    long long frequency;
    if (!call_number(call, "freq", 0, &frequency))
        return;
    if (frequency)
        reply_error(call, 501, "This kernel has no sampling profiler");
    else
        reply_text(call, "Sampler stopped successfully");
}

void trace_buffers(struct call *call) {
    reply_error(call, 501, "This kernel counts events and does not record them: /trace/count");
}
