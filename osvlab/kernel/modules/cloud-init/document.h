// A configuration as a tree of YAML nodes, read by the distribution's libyaml.
#pragma once

#include <yaml.h>

#include "source.h"

// What is wrong, and in which line (from 1; 0: none).
struct complaint {
    char text[512];
    unsigned long line;
};
__attribute__((format(printf, 3, 4))) bool complain(struct complaint *complaint,
                                                    const yaml_node_t *node, const char *format,
                                                    ...); // always false

bool document_load(yaml_document_t *document, const struct text *text, struct complaint *complaint);

// The text of a scalar; NULL for another node.
const char *node_text(const yaml_node_t *node);
// The value of a key of a mapping, or NULL.
yaml_node_t *mapping_value(yaml_document_t *document, yaml_node_t *mapping, const char *key);

#define MAPPING_EACH(of, pair)                                    \
    for (yaml_node_pair_t *pair = (of)->data.mapping.pairs.start; \
         pair < (of)->data.mapping.pairs.top; pair++)
#define SEQUENCE_EACH(of, item)                                    \
    for (yaml_node_item_t *item = (of)->data.sequence.items.start; \
         item < (of)->data.sequence.items.top; item++)

// Writes a node as a document of its own into a file.
bool document_dump(yaml_document_t *document, yaml_node_t *node, const char *path,
                   struct complaint *complaint);
