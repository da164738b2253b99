// A configuration as a tree of YAML nodes (YAML 1.1, libyaml's document interface).

#include "document.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool complain(struct complaint *complaint, const yaml_node_t *node, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(complaint->text, sizeof(complaint->text), format, list);
    va_end(list);
    complaint->line = node ? node->start_mark.line + 1 : 0;
    return false;
}

bool document_load(yaml_document_t *document, const struct text *text,
                   struct complaint *complaint) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return complain(complaint, NULL, "no memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text->bytes, text->size);
    bool good = yaml_parser_load(&parser, document);
    if (!good) {
        complain(complaint, NULL, "no YAML: %s", parser.problem ? parser.problem : "no memory");
        complaint->line = parser.problem_mark.line + 1;
    }
    yaml_parser_delete(&parser);
    return good;
}

const char *node_text(const yaml_node_t *node) {
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

yaml_node_t *mapping_value(yaml_document_t *document, yaml_node_t *mapping, const char *key) {
    MAPPING_EACH(mapping, pair) {
        const char *name = node_text(yaml_document_get_node(document, pair->key));
        if (name && !strcmp(name, key))
            return yaml_document_get_node(document, pair->value);
    }
    return NULL;
}

#define NODES_MOST 1000 // aliases can make a few nodes many, or even endless

// Copies a tree of nodes into another document; 0 when memory is out or `left` nodes are not
// enough.
static int copy(yaml_document_t *to, yaml_document_t *from, const yaml_node_t *node, int *left) {
    if (!node || --*left < 0)
        return 0;
    if (node->type == YAML_SCALAR_NODE)
        return yaml_document_add_scalar(to, node->tag, node->data.scalar.value,
                                        (int)node->data.scalar.length, node->data.scalar.style);
    if (node->type == YAML_SEQUENCE_NODE) {
        int made = yaml_document_add_sequence(to, node->tag, YAML_BLOCK_SEQUENCE_STYLE);
        SEQUENCE_EACH(node, item) {
            int below = copy(to, from, yaml_document_get_node(from, *item), left);
            if (!made || !below || !yaml_document_append_sequence_item(to, made, below))
                return 0;
        }
        return made;
    }
    int made = yaml_document_add_mapping(to, node->tag, YAML_BLOCK_MAPPING_STYLE);
    MAPPING_EACH(node, pair) {
        int key = copy(to, from, yaml_document_get_node(from, pair->key), left);
        int value = copy(to, from, yaml_document_get_node(from, pair->value), left);
        if (!made || !key || !value || !yaml_document_append_mapping_pair(to, made, key, value))
            return 0;
    }
    return made;
}

static bool emit(yaml_document_t *document, FILE *file) {
    yaml_emitter_t emitter;
    if (!yaml_emitter_initialize(&emitter)) {
        yaml_document_delete(document);
        return false;
    }
    yaml_emitter_set_output_file(&emitter, file);
    bool good = yaml_emitter_open(&emitter) && yaml_emitter_dump(&emitter, document) &&
                yaml_emitter_close(&emitter);
    yaml_emitter_delete(&emitter);
    return good;
}

bool document_dump(yaml_document_t *document, yaml_node_t *node, const char *path,
                   struct complaint *complaint) {
    yaml_document_t single;
    FILE *file = fopen(path, "we");
    if (!file)
        return complain(complaint, node, "%s: %s", path, strerror(errno));
    bool good = false;
    if (yaml_document_initialize(&single, NULL, NULL, NULL, 1, 1)) {
        int left = NODES_MOST;
        if (copy(&single, document, node, &left))
            good = emit(&single, file); // which also deletes the document
        else
            yaml_document_delete(&single);
    }
    if (fclose(file) || !good)
        return complain(complaint, node, "%s could not be written", path);
    return true;
}
