// /proc/PID/task/TID: what is known of one thread, in Linux's form (proc(5)).

#include "procfs.h"

#define TICK (SECOND / 100)

struct id_list {
    int pid, *ids;
    size_t size, count;
};

static void collect_view(struct thread *thread, void *argument) {
    struct thread_view *view = argument;
    if (thread_id(thread) != view->facts.id)
        return;
    thread_facts(thread, &view->facts);
    format_string(view->name, sizeof(view->name), "%s", thread_name(thread));
}

bool thread_view(int id, struct thread_view *out) {
    *out = (struct thread_view){.facts.id = id};
    threads_each(collect_view, out);
    return out->facts.pid != 0;
}

static void collect_id(struct thread *thread, void *argument) {
    struct id_list *list = argument;
    struct thread_facts facts;
    thread_facts(thread, &facts);
    if (facts.pid == list->pid && list->count < list->size)
        list->ids[list->count++] = facts.id;
}

size_t thread_ids(int pid, int *out, size_t size) {
    struct id_list list = {.pid = pid, .ids = out, .size = size};
    threads_each(collect_id, &list);
    return list.count;
}

void proc_write_thread_stat(struct text *text, int id) {
    struct thread_view view;
    if (!thread_view(id, &view))
        return;
    text_add(text, "%d (%s) %c 0 %d %d 0 0 0 0 0 0 0 %lu 0 0 0 20 0 0 0 0 0 0", id, view.name,
             view.facts.runnable ? 'R' : 'S', view.facts.pid, view.facts.pid,
             view.facts.time / TICK);
    for (int field = 25; field <= 52; field++)
        text_add(text, " 0");
    text_add(text, "\n");
}

void proc_write_thread_status(struct text *text, int id) {
    struct thread_view view;
    if (!thread_view(id, &view))
        return;
    text_add(text,
             "Name:\t%s\nState:\t%s\nTgid:\t%d\nPid:\t%d\nvoluntary_ctxt_switches:\t%lu\n"
             "nonvoluntary_ctxt_switches:\t%lu\n",
             view.name, view.facts.runnable ? "R (running)" : "S (sleeping)", view.facts.pid, id,
             view.facts.switches - view.facts.preemptions, view.facts.preemptions);
}

void proc_write_thread_comm(struct text *text, int id) {
    struct thread_view view;
    if (thread_view(id, &view))
        text_add(text, "%s\n", view.name);
}
