// /os/threads: the threads of all processes, from /proc (proc(5)).

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "proc.h"

struct thread {
    char name[64], state;
    unsigned long long user, system; // clock ticks
    long priority;
    int processor;
    unsigned long long stack_size;
};

// Fields are counted as proc(5) counts them. The name stands in brackets and may have any in it.
static bool parse_stat(char *text, struct thread *out) {
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    unsigned long long field[40] = {0};
    if (!open || !close || close < open || close[1] != ' ')
        return false;
    snprintf(out->name, sizeof(out->name), "%.*s", (int)(close - open - 1), open + 1);
    out->state = close[2];
    char *at = out->state ? close + 3 : close + 2;
    for (int i = 4; i < 40 && *at; i++)
        field[i] = strtoull(at, &at, 10);
    out->user = field[14];
    out->system = field[15];
    out->priority = (long)field[18];
    out->processor = (int)field[39];
    return true;
}

static const char *status_word(char state) {
    switch (state) {
    case 'R':
        return "running";
    case 'Z':
    case 'X':
        return "terminated";
    default:
        return "waiting";
    }
}

static void add(struct buffer *out, int id, const struct thread *t, const char *status) {
    long ticks = sysconf(_SC_CLK_TCK);
    long long forced = proc_number(status, "nonvoluntary_ctxt_switches");
    json_open(out, '{');
    json_number_member(out, "id", id);
    json_number_member(out, "cpu", t->processor);
    json_number_member(out, "cpu_ms",
                       (long long)((t->user + t->system) * 1000 / (unsigned long)ticks));
    json_number_member(out, "switches", proc_number(status, "voluntary_ctxt_switches") + forced);
    json_number_member(out, "migrations", 0);
    json_number_member(out, "preemptions", forced);
    json_number_member(out, "priority", t->priority);
    json_number_member(out, "stack_size", proc_number(status, "VmStk") * 1024);
    json_text_member(out, "status", status_word(t->state));
    json_text_member(out, "name", t->name);
    json_close(out, '}');
}

// A thread can end at any moment: then it is left out.
static void add_thread(struct buffer *out, const char *process, const char *id) {
    char path[64];
    struct buffer stat = {0}, status = {0};
    struct thread thread;
    snprintf(path, sizeof(path), "/proc/%.10s/task/%.10s/stat", process, id);
    bool good = proc_read(path, &stat) && parse_stat(stat.bytes, &thread);
    snprintf(path, sizeof(path), "/proc/%.10s/task/%.10s/status", process, id);
    if (good && proc_read(path, &status))
        add(out, atoi(id), &thread, status.bytes);
    buffer_free(&stat);
    buffer_free(&status);
}

static bool is_number(const char *name) {
    return *name >= '1' && *name <= '9' && strspn(name, "0123456789") == strlen(name);
}

static void each(const char *directory, void (*visit)(struct buffer *, const char *, const char *),
                 struct buffer *out, const char *first) {
    DIR *list = opendir(directory);
    const struct dirent *entry;
    while (list && (entry = readdir(list)))
        if (is_number(entry->d_name))
            visit(out, first ? first : entry->d_name, entry->d_name);
    if (list)
        closedir(list);
}

static void add_process(struct buffer *out, const char *process, const char *same) {
    char path[64];
    (void)same;
    snprintf(path, sizeof(path), "/proc/%.10s/task", process);
    each(path, add_thread, out, process);
}

void os_threads(struct call *call) {
    struct timespec now;
    struct buffer *out = &call->reply.body;
    clock_gettime(CLOCK_REALTIME, &now);
    json_open(out, '{');
    json_key(out, "list");
    json_open(out, '[');
    each("/proc", add_process, out, NULL);
    json_close(out, ']');
    json_number_member(out, "time_ms", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    json_close(out, '}');
}
