// The launcher's lists of texts: see texts.h.

#include "texts.h"

#include <string.h>

#include "keep.h"

void *list_grown(void *list, size_t count, size_t more, size_t *room, size_t size) {
    if (count + more <= *room)
        return list;
    size_t wanted = 2 * *room + 4;
    void *grown = keep(wanted * size);
    if (grown && count)
        memcpy(grown, list, count * size);
    if (grown)
        *room = wanted;
    return grown;
}

bool texts_append(struct texts *texts, char *text) {
    char **grown = list_grown(texts->list, texts->count, 2, &texts->room, sizeof(*grown));
    if (!grown || !text)
        return false;
    texts->list = grown;
    grown[texts->count++] = text;
    grown[texts->count] = NULL;
    return true;
}

bool texts_add(struct texts *texts, const char *text, size_t length) {
    char *copy = keep(length + 1);
    if (copy)
        memcpy(copy, text, length);
    return texts_append(texts, copy);
}
