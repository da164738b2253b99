// Parsing commands: see commands.h.
//
// A word ends at a blank or a separator. Only double quotes quote, and only where a word
// begins; the escapes are those of C. Unlike OSv, an unterminated quote is an error, tabs and
// line ends are blanks everywhere, and nothing after an empty command is dropped.

#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keep.h"
#include "variables.h"

static bool is_blank(char c) {
    return c && strchr(" \f\n\r\t\v", c);
}

static bool is_separator(char c) {
    return c == ';' || c == '&' || c == '!';
}

// One character of a word, with its escape; returns where the next begins.
static const char *take_character(const char *at, char *out) {
    static const char letters[] = "abfnrtv\\'\"", values[] = "\a\b\f\n\r\t\v\\'\"";
    const char *escape = *at == '\\' && at[1] ? strchr(letters, at[1]) : NULL;
    *out = escape ? values[escape - letters] : *at;
    return at + (escape ? 2 : 1);
}

// Reads a word into `word`, which is large enough for the line. NULL: an open quote.
static const char *take_word(const char *at, char *word, size_t *length) {
    bool quoted = *at == '"';
    *length = 0;
    if (quoted)
        at++;
    while (*at && (quoted ? *at != '"' : !is_blank(*at) && !is_separator(*at)))
        at = take_character(at, &word[(*length)++]);
    if (!quoted)
        return at;
    return *at == '"' ? at + 1 : NULL;
}

static const char *take_ending(const char *at, enum ending *ending) {
    *ending = FOREGROUND;
    if (*at == '&')
        *ending = at[1] == '!' ? DETACHED : BACKGROUND;
    else if (*at == '!')
        *ending = ALONE;
    return at + (*ending == DETACHED ? 2 : *at ? 1 : 0);
}

static bool add_command(struct commands *commands, struct command *command) {
    struct command *grown =
        list_grown(commands->list, commands->count, 1, &commands->room, sizeof(*grown));
    if (!grown)
        return false;
    commands->list = grown;
    grown[commands->count++] = *command;
    *command = (struct command){0};
    return true;
}

// Everything after the first $ is the name of a variable.
static bool expand_variable(char **word) {
    char *dollar = strchr(*word, '$');
    if (!dollar)
        return true;
    const char *value = variable_get(dollar + 1);
    size_t size = (size_t)(dollar - *word) + (value ? strlen(value) : 0) + 1;
    char *expanded = keep(size);
    if (!expanded)
        return false;
    memcpy(expanded, *word, (size_t)(dollar - *word));
    if (value)
        strcpy(expanded + (dollar - *word), value);
    *word = expanded;
    return true;
}

static bool parse_command(const char **at, char *word, struct command *command) {
    for (;;) {
        size_t length;
        while (is_blank(**at))
            ++*at;
        if (!**at || is_separator(**at))
            return true;
        const char *next = take_word(*at, word, &length);
        if (!next || !texts_add(&command->words, word, length))
            return false;
        *at = next;
    }
}

static bool parse_line(const char *at, char *word, struct commands *out) {
    while (*at) {
        struct command command = {0};
        bool parsed = parse_command(&at, word, &command);
        const char *separator = at;
        if (parsed) {
            at = take_ending(at, &command.ending);
            if (!command.words.count)
                parsed = !*separator || *separator == ';'; // nothing to put in the background
            else
                parsed = add_command(out, &command);
        }
        if (!parsed)
            return false;
    }
    return true;
}

static void expand_variables(struct commands *commands) {
    for (size_t i = 0; i < commands->count; i++)
        for (size_t j = 0; j < commands->list[i].words.count; j++)
            expand_variable(&commands->list[i].words.list[j]);
}

static bool parse_unexpanded(const char *line, struct commands *out) {
    *out = (struct commands){0};
    char *word = keep(strlen(line) + 1);
    if (word && parse_line(line, word, out))
        return true;
    *out = (struct commands){0};
    return false;
}

bool commands_parse(const char *line, struct commands *out) {
    bool parsed = parse_unexpanded(line, out);
    expand_variables(out);
    return parsed;
}

void commands_append(struct commands *to, struct commands *from) {
    for (size_t i = 0; i < from->count; i++)
        add_command(to, &from->list[i]);
    *from = (struct commands){0};
}

// --env=KEY=value, or --env=KEY?=value which leaves a variable alone that is set.
static bool apply_option(const char *option) {
    static const char usage[] =
        "OSv runscript options:\n"
        "  --env=arg             set Unix-like environment variable (putenv())\n";
    if (strncmp(option, "--env=", 6)) {
        dprintf(1, "unrecognised option '%s'\n%s", option, usage);
        return false;
    }
    const char *name = option + 6, *equals = strchr(name, '=');
    if (!equals || equals == name) {
        dprintf(1, "expected 'KEY(?)=value' but instead got '%s'\n%s", option, usage);
        return false;
    }
    bool overwrite = equals[-1] != '?';
    char *value = (char *)equals + 1;
    return expand_variable(&value) &&
           variable_set(name, (size_t)(equals - name) - !overwrite, value, overwrite);
}

static bool apply_options(struct command *command) {
    struct texts *words = &command->words;
    size_t options = 0;
    while (options < words->count && words->list[options][0] == '-') {
        if (!apply_option(words->list[options++]))
            return false;
    }
    memmove(words->list, words->list + options,
            (words->count - options + 1) * sizeof(*words->list));
    words->count -= options;
    return true;
}

// Parses one line of a script.
static bool script_line(const char *file, int number, const char *line, struct commands *out) {
    struct commands parsed;
    dprintf(1, "runscript expand fn='%s' line=%d '%s'\n", file, number, line);
    if (!parse_unexpanded(line, &parsed)) {
        dprintf(1, "Failed expanding runscript file='%s' line=%d '%s'.\n", file, number, line);
        return false;
    }
    for (size_t i = 0; i < parsed.count; i++)
        if (!apply_options(&parsed.list[i]))
            return false;
    expand_variables(&parsed);
    for (size_t i = 0; i < parsed.count; i++)
        if (parsed.list[i].words.count)
            add_command(out, &parsed.list[i]);
    return true;
}

static bool run_script(const struct command *command, struct commands *out) {
    if (command->words.count != 2) {
        dprintf(1, "Failed expanding runscript - filename missing or extra parameters present.\n");
        return false;
    }
    const char *name = command->words.list[1];
    FILE *file = fopen(name, "r");
    if (!file) {
        dprintf(1, "Failed to open runscript file '%s'.\n", name);
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    bool good = true;
    ssize_t length;
    for (int number = 0; good && (length = getline(&line, &size, file)) >= 0; number++) {
        if (length && line[length - 1] == '\n')
            line[length - 1] = 0;
        good = script_line(name, number, line, out);
    }
    free(line);
    fclose(file);
    return good;
}

bool commands_expand(const char *line, struct commands *out) {
    struct commands parsed;
    *out = (struct commands){0};
    if (!commands_parse(line, &parsed)) {
        dprintf(1, "Failed to parse command line.\n");
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < parsed.count && good; i++) {
        if (strcmp(parsed.list[i].words.list[0], "runscript"))
            good = add_command(out, &parsed.list[i]);
        else
            good = run_script(&parsed.list[i], out);
    }
    if (!good)
        *out = (struct commands){0};
    return good;
}
