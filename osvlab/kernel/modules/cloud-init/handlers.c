// What the keys of a configuration do: OSv's dialect (osv modules/cloud-init/cloud-init.cc).
//
// The keys are worked off in the order of the document. A complaint names the key and its line.

#include "handlers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCES_MOST 16

typedef bool handler(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                     struct complaint *complaint);

// --- run: calls of the REST API ---

static bool is_method(const char *name) {
    return !strcmp(name, "GET") || !strcmp(name, "PUT") || !strcmp(name, "POST") ||
           !strcmp(name, "DELETE");
}

static void add_escaped(FILE *query, const char *text) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text))
            fputc(*text, query);
        else
            fprintf(query, "%%%02X", (unsigned char)*text);
    }
}

static bool run_call(yaml_document_t *document, yaml_node_t *call, struct complaint *complaint) {
    const char *method = NULL, *uri = NULL;
    char *query = NULL;
    size_t size;
    if (call->type != YAML_MAPPING_NODE)
        return complain(complaint, call, "a call must be a mapping");
    FILE *stream = open_memstream(&query, &size);
    if (!stream)
        return complain(complaint, call, "no memory");
    bool good = true;
    MAPPING_EACH(call, pair) {
        const char *name = node_text(yaml_document_get_node(document, pair->key));
        const char *value = node_text(yaml_document_get_node(document, pair->value));
        good = good && name && value && !(is_method(name) && method);
        if (!good)
            break;
        if (is_method(name)) {
            method = name;
            uri = value;
        } else {
            fputs(ftell(stream) ? "&" : "", stream);
            add_escaped(stream, name);
            fputc('=', stream);
            add_escaped(stream, value);
        }
    }
    fclose(stream);
    if (!good || !method)
        complain(complaint, call, "a call has exactly one of GET, PUT, POST, DELETE, and texts");
    else if (!strcmp(uri, "/open-rest-api"))
        good = rest_serve(call, complaint);
    else
        good = rest_call(method, uri, query, call, complaint);
    free(query);
    return good && method;
}

static bool run(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                struct complaint *complaint) {
    (void)settings;
    if (value->type != YAML_SEQUENCE_NODE)
        return complain(complaint, value, "run must be a list");
    SEQUENCE_EACH(value, item)
    if (!run_call(document, yaml_document_get_node(document, *item), complaint))
        return false;
    return true;
}

// --- files ---

static bool make_parents(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool good = mkdir(path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!good)
            return false;
    }
    return true;
}

static bool write_file(const char *path, const yaml_node_t *contents, struct complaint *complaint) {
    char *parents = strdup(path);
    bool good = parents && make_parents(parents);
    free(parents);
    FILE *file = good ? fopen(path, "we") : NULL;
    if (!file)
        return complain(complaint, contents, "%s: %s", path, strerror(errno));
    size_t size = contents->data.scalar.length;
    good = fwrite(contents->data.scalar.value, 1, size, file) == size;
    int error = errno;
    if (fclose(file))
        error = errno, good = false;
    return good || complain(complaint, contents, "%s: %s", path, strerror(error));
}

static bool files(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                  struct complaint *complaint) {
    (void)settings;
    if (value->type != YAML_MAPPING_NODE)
        return complain(complaint, value, "files must be a mapping");
    MAPPING_EACH(value, pair) {
        const char *path = node_text(yaml_document_get_node(document, pair->key));
        yaml_node_t *contents = yaml_document_get_node(document, pair->value);
        if (!path || path[0] != '/')
            return complain(complaint, contents, "not an absolute path: %s", path ? path : "");
        if (!node_text(contents))
            return complain(complaint, contents, "the contents of %s must be a text", path);
        if (!write_file(path, contents, complaint))
            return false;
    }
    return true;
}

// --- hostname, httpserver, mounts ---

bool hostname_set(const char *name, struct complaint *complaint) {
    if (sethostname(name, strlen(name)) < 0)
        return complain(complaint, NULL, "the host name %s: %s", name, strerror(errno));
    return true;
}

static bool hostname(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                     struct complaint *complaint) {
    const char *name = node_text(value);
    (void)document, (void)settings;
    if (!name || !*name)
        return complain(complaint, value, "hostname must be a text");
    bool good = hostname_set(name, complaint);
    complaint->line = value->start_mark.line + 1;
    return good;
}

// The settings of other programs are handed on, for them to read when they start.
static bool httpserver(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                       struct complaint *complaint) {
    (void)settings;
    return document_dump(document, value, "/tmp/httpserver.conf", complaint);
}

static bool monitor_agent(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                          struct complaint *complaint) {
    (void)settings;
    return document_dump(document, value, "/tmp/monitor-agent.conf", complaint);
}

static bool mounts(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                   struct complaint *complaint) {
    (void)document, (void)settings;
    return complain(complaint, value, "this kernel has no NFS to mount");
}

// --- include ---

static bool include_text(bool found, struct text *text, const char *error, const yaml_node_t *node,
                         struct settings *settings, struct complaint *complaint) {
    if (!found)
        return complain(complaint, node, "%s", error ? error : "there is no such source");
    if (++settings->included > SOURCES_MOST) {
        free(text->bytes);
        return complain(complaint, node, "more than %d sources include each other", SOURCES_MOST);
    }
    bool good = configuration_apply(text, settings);
    free(text->bytes);
    return good || complain(complaint, node, "what was included failed");
}

static bool include_remote(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                           struct complaint *complaint) {
    struct text text;
    const char *error = NULL, *port = "80", *server = NULL, *path = NULL;
    if (value && value->type == YAML_MAPPING_NODE) {
        server = node_text(mapping_value(document, value, "server"));
        path = node_text(mapping_value(document, value, "path"));
        yaml_node_t *given = mapping_value(document, value, "port");
        port = given ? node_text(given) : port;
    }
    if (!server || !path || !port)
        return complain(complaint, value, "remote needs server and path");
    bool found = source_http(server, port, path, NULL, 10, &text, &error);
    return include_text(found, &text, error, value, settings, complaint);
}

static bool include_cloud(yaml_document_t *document, yaml_node_t *item, yaml_node_t *options,
                          struct settings *settings, struct complaint *complaint) {
    struct text text;
    const char *error = NULL, *ignore = NULL;
    char *name;
    bool found = source_cloud(&text, &name, &error);
    if (name)
        hostname_set(name, complaint);
    free(name);
    if (options && options->type == YAML_MAPPING_NODE)
        ignore = node_text(mapping_value(document, options, "ignore-missing-source"));
    if (!found && ignore && !strcmp(ignore, "true"))
        return true;
    return include_text(found, &text, error, item, settings, complaint);
}

static bool include_one(yaml_document_t *document, yaml_node_t *item, struct settings *settings,
                        struct complaint *complaint) {
    struct text text;
    const char *error = NULL, *word = node_text(item);
    if (word && !strcmp(word, "load-from-cloud"))
        return include_cloud(document, item, NULL, settings, complaint);
    if (item->type == YAML_MAPPING_NODE) {
        const char *path = node_text(mapping_value(document, item, "file"));
        yaml_node_t *remote = mapping_value(document, item, "remote");
        yaml_node_t *cloud = mapping_value(document, item, "load-from-cloud");
        if (path) {
            bool found = source_file(path, &text, &error);
            return include_text(found, &text, error, item, settings, complaint);
        }
        if (remote)
            return include_remote(document, remote, settings, complaint);
        if (cloud)
            return include_cloud(document, item, cloud, settings, complaint);
    }
    return complain(complaint, item, "an entry of include is a file, a remote or load-from-cloud");
}

static bool include(yaml_document_t *document, yaml_node_t *value, struct settings *settings,
                    struct complaint *complaint) {
    if (value->type != YAML_SEQUENCE_NODE)
        return complain(complaint, value, "include must be a list");
    SEQUENCE_EACH(value, item)
    if (!include_one(document, yaml_document_get_node(document, *item), settings, complaint))
        return false;
    return true;
}

// --- the document ---

static const struct {
    const char *key;
    handler *function;
} handlers[] = {
    {"run", run},         {"files", files},           {"hostname", hostname},
    {"mounts", mounts},   {"httpserver", httpserver}, {"monitor-agent", monitor_agent},
    {"include", include},
};

static handler *handler_of(const char *key) {
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (!strcmp(handlers[i].key, key))
            return handlers[i].function;
    return NULL;
}

static bool apply_pair(yaml_document_t *document, const yaml_node_pair_t *pair,
                       struct settings *settings) {
    yaml_node_t *key = yaml_document_get_node(document, pair->key);
    yaml_node_t *value = yaml_document_get_node(document, pair->value);
    const char *name = node_text(key);
    handler *function = name ? handler_of(name) : NULL;
    struct complaint complaint = {0};
    bool good = function ? function(document, value, settings, &complaint)
                         : complain(&complaint, key, "unknown key");
    if (!good)
        printf("cloud-init failed when handling '%s': line %lu: %s\n", name ? name : "?",
               complaint.line, complaint.text);
    return good;
}

bool configuration_apply(const struct text *text, struct settings *settings) {
    yaml_document_t document;
    struct complaint complaint;
    if (!document_load(&document, text, &complaint)) {
        printf("cloud-init failed: line %lu: %s\n", complaint.line, complaint.text);
        return false;
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    bool good = true;
    if (root && root->type != YAML_MAPPING_NODE) {
        printf("cloud-init failed: line %zu: the configuration must be a mapping\n",
               root->start_mark.line + 1);
        good = false;
    } else if (root) {
        MAPPING_EACH(root, pair) {
            good = apply_pair(&document, pair, settings) && good;
            if (!good && !settings->skip_errors)
                break;
        }
    }
    yaml_document_delete(&document);
    return good;
}
