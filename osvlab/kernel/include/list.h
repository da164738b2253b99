// Doubly linked lists whose links live inside the things that are linked.
//
// Invariant: a list head and all its members form one ring, so that removing a
// member never needs to know which list it is on. A member that is on no list
// points to itself.
#pragma once

#include "base.h"

struct list {
    struct list *next;
    struct list *previous;
};

#define LIST(name) {&(name), &(name)}

static inline void list_init(struct list *l) {
    l->next = l->previous = l;
}

static inline bool list_empty(const struct list *l) {
    return l->next == l;
}

static inline void list_insert(struct list *before, struct list *item) {
    item->next = before;
    item->previous = before->previous;
    before->previous->next = item;
    before->previous = item;
}

static inline void list_append(struct list *head, struct list *item) {
    list_insert(head, item);
}

static inline void list_prepend(struct list *head, struct list *item) {
    list_insert(head->next, item);
}

static inline void list_remove(struct list *item) {
    item->previous->next = item->next;
    item->next->previous = item->previous;
    list_init(item);
}

// The first member as a `type`, or NULL when the list is empty.
#define LIST_FIRST(head, type, member) \
    (list_empty(head) ? NULL : CONTAINER_OF((head)->next, type, member))

#define LIST_EACH(head, item, type, member)                                              \
    for (type *item = CONTAINER_OF((head)->next, type, member); &item->member != (head); \
         item = CONTAINER_OF(item->member.next, type, member))

// The same, but the body may remove `item`.
#define LIST_EACH_SAFE(head, item, type, member)                            \
    for (type *item = CONTAINER_OF((head)->next, type, member),             \
              *item##_next = CONTAINER_OF(item->member.next, type, member); \
         &item->member != (head);                                           \
         item = item##_next, item##_next = CONTAINER_OF(item->member.next, type, member))
