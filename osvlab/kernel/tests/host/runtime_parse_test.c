// The kernel's command line, on the host under sanitizers: options.c, commands.c, initscripts.c.
//
// Each case is a command line and what must come of it, written as one line of text. Then
// random command lines, which must only not break anything.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/commands.h"
#include "../../runtime/keep.h"
#include "../../runtime/options.h"
#include "../../runtime/variables.h"

static char text[4096];

// keep() for tests: each piece is a block of its own, so that the sanitizers watch its ends.
static struct block {
    struct block *next;
    char memory[];
} *blocks;

void *keep(size_t size) {
    struct block *block = calloc(1, sizeof(*block) + size);
    assert(block);
    block->next = blocks;
    blocks = block;
    return block->memory;
}

static void forget_after(const struct block *kept) {
    while (blocks != kept) {
        struct block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

static void add(const char *format, const char *value) {
    snprintf(text + strlen(text), sizeof(text) - strlen(text), format, value ? value : "-");
}

static void add_all(const char *name, const struct texts *texts) {
    for (size_t i = 0; i < texts->count; i++) {
        add("%s=", name);
        add("%s ", texts->list[i]);
    }
}

// What the options say, in a fixed order; errors instead, if there are any.
static const char *describe_options(const char *line) {
    struct options o;
    text[0] = 0;
    options_parse(line, &o);
    add_all("error", &o.errors);
    if (!o.errors.count) {
        const bool flags[] = {
            o.help,   o.verbose,  o.bootchart, o.noshutdown,         o.nomount,           o.nopivot,
            o.noinit, o.norandom, o.nopci,     o.power_off_on_abort, o.disable_rofs_cache};
        for (size_t i = 0; i < sizeof(flags); i++)
            add("%s", flags[i] ? "1" : "0");
        add(" rootfs=%s", o.rootfs);
        add(" console=%s", o.console);
        add(" cwd=%s", o.cwd);
        add(" redirect=%s ", o.redirect);
        add_all("env", &o.env);
        add_all("mount", &o.mount_fs);
        add_all("ip", &o.ip);
        if (o.defaultgw)
            add("gateway=%s ", o.defaultgw);
        if (o.nameserver)
            add("nameserver=%s ", o.nameserver);
        add_all("notice", &o.notices);
    }
    add("| %s", o.application);
    return text;
}

static const struct {
    const char *line, *result;
} option_cases[] = {
    {"", "00000000000 rootfs=- console=- cwd=- redirect=- | "},
    {"/hello", "00000000000 rootfs=- console=- cwd=- redirect=- | /hello"},
    {"--help --verbose --bootchart --noshutdown --nomount --nopivot --noinit --norandom --nopci "
     "--power-off-on-abort --disable_rofs_cache /x",
     "11111111111 rootfs=- console=- cwd=- redirect=- | /x"},
    {" \t--rootfs=rofs\n--console=serial --cwd=/tmp --redirect=>>/log  /x --verbose",
     "00000000000 rootfs=rofs console=serial cwd=/tmp redirect=>>/log | /x --verbose"},
    {"--env=A=b\\ c --env=D\\\\=e /x",
     "00000000000 rootfs=- console=- cwd=- redirect=- env=A=b c env=D\\=e | /x"},
    {"--rootfs=zfs --rootfs=rofs /x", "00000000000 rootfs=zfs console=- cwd=- redirect=- "
                                      "notice=Ignoring '--rootfs' options after the first. | /x"},
    {"--cwd=/a --cwd=/b /x", "00000000000 rootfs=- console=- cwd=/a redirect=- "
                             "notice=Ignoring '--cwd' options after the first. | /x"},
    {"--mount-fs=zfs,/dev/vblk1.1,/data /x",
     "00000000000 rootfs=- console=- cwd=- redirect=- mount=zfs,/dev/vblk1.1,/data | /x"},
    {"--mount-fs=zfs,,/data /x",
     "00000000000 rootfs=- console=- cwd=- redirect=- notice=Ignoring value: 'zfs,,/data' "
     "for option mount-fs, expected in format: <fs_type,url,path> | /x"},
    {"--verbose --verbose /x", "01000000000 rootfs=- console=- cwd=- redirect=- | /x"},
    {"--frobnicate /x", "error=unrecognized option: frobnicate | /x"},
    {"--assign-net --leak --assign-net /x",
     "error=unrecognized option: assign-net error=unrecognized option: leak | /x"},
    {"--ip=eth0,1.2.3.4,5.6.7.8 --ip=eth1,3,4 --defaultgw=a --defaultgw=b --nameserver=c /x",
     "00000000000 rootfs=- console=- cwd=- redirect=- ip=eth0,1.2.3.4,5.6.7.8 ip=eth1,3,4 "
     "gateway=a nameserver=c | /x"},
    {"--cwd /tmp /x", "error=the required argument for option '--cwd' is missing | /tmp /x"},
    {"-v /x", "error=not an option: -v | /x"},
    {"- /x", "error=not an option: - | /x"},
    {"-- /x", "error=unrecognized option:  | /x"},
    {"--verbose=1 /x", "error=option '--verbose' does not take any arguments | /x"},
    {"--verbose --verbose=1 /x", "error=duplicate option: --verbose=1 | /x"},
    {"--rootfs=rofs --rootfs /x", "error=duplicate option: --rootfs | /x"},
    {"--rootfs= /x", "error=the required argument for option '--rootfs' is missing | /x"},
    {"--env=A=1 \\--verbose",
     "00000000000 rootfs=- console=- cwd=- redirect=- env=A=1 | \\--verbose"},
};

// [word][word]ending for each command.
static const char *describe_commands(const struct commands *commands) {
    static const char *const endings[] = {";", "&", "&!", "!"};
    text[0] = 0;
    for (size_t i = 0; i < commands->count; i++) {
        for (size_t j = 0; j < commands->list[i].words.count; j++)
            add("[%s]", commands->list[i].words.list[j]);
        add("%s", endings[commands->list[i].ending]);
    }
    return text;
}

static const struct {
    const char *line, *result; // NULL = cannot be parsed
} command_cases[] = {
    {"", ""},
    {" ; ;; \t", ""},
    {"/hello", "[/hello];"},
    {"/a b  c", "[/a][b][c];"},
    {"/a;/b", "[/a];[/b];"},
    {"/a ; ; /b ;", "[/a];[/b];"},
    {"/a&/b", "[/a]&[/b];"},
    {"/a&!/b", "[/a]&![/b];"},
    {"/a !", "[/a]!"},
    {"/a! /b&", "[/a]![/b]&"},
    {"\"a b\" c", "[a b][c];"},
    {"\"a\"b", "[a][b];"},
    {"a\"b c", "[a\"b][c];"},
    {"\"\" x", "[][x];"},
    {"\"a;b&c!\"", "[a;b&c!];"},
    {"\"a\\\"b\\n\\\\\"", "[a\"b\n\\];"},
    {"a\\tb \\q \\", "[a\tb][\\q][\\];"},
    {"a 'b c'", "[a]['b][c'];"},
    {"a\tb\nc", "[a][b][c];"},
    {"x$AA $AA ${AA} $NONE y$", "[xaa][aa][][][y];"},
    {"\"$AA\"", "[aa];"},
    {"$AA-b", "[];"},
    {"\"a", NULL},
    {"a \"b c; d", NULL},
    {"&", NULL},
    {"/a & & /b", NULL},
    {"/a & ! /b", NULL},
    {"! /a", NULL},
};

static void check(const char *line, const char *got, const char *wanted) {
    if (strcmp(got, wanted)) {
        fprintf(stderr, "'%s'\n  gives '%s'\n  wanted '%s'\n", line, got, wanted);
        exit(1);
    }
}

static void write_file(const char *path, const char *contents) {
    FILE *file = fopen(path, "w");
    assert(file);
    fputs(contents, file);
    fclose(file);
}

static void check_addresses(void) {
    static const struct {
        const char *value, *parts; // NULL: not three
    } cases[] = {
        {"eth0,10.0.0.2,255.0.0.0", "eth0|10.0.0.2|255.0.0.0"},
        {"eth0 10.0.0.2,,255.0.0.0", "eth0|10.0.0.2|255.0.0.0"},
        {"eth0,10.0.0.2", NULL},
        {"a,b,c,d", NULL},
        {",", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char value[64], joined[64], *parts[3];
        snprintf(value, sizeof(value), "%s", cases[i].value);
        bool good = options_split_address(value, parts);
        check(cases[i].value, good ? "three" : "not three", cases[i].parts ? "three" : "not three");
        if (!good)
            continue;
        snprintf(joined, sizeof(joined), "%s|%s|%s", parts[0], parts[1], parts[2]);
        check(cases[i].value, joined, cases[i].parts);
    }
}

static void check_scripts(void) {
    struct commands commands;
    write_file(
        "script",
        "--env=PORT?=1111 /server $PORT\n\n  ;\n--env=PORT?=2222 --env=X=y /b $PORT $X & /c\n");
    assert(commands_expand("/first; runscript script ; /last", &commands));
    check("runscript", describe_commands(&commands),
          "[/first];[/server][1111];[/b][1111][y]&[/c];[/last];");
    assert(!commands_expand("runscript", &commands));
    assert(!commands_expand("runscript a b", &commands));
    assert(!commands_expand("runscript missing", &commands));
    write_file("script", "--verbose /a\n");
    assert(!commands_expand("runscript script", &commands));
    write_file("script", "--env=novalue /a\n");
    assert(!commands_expand("runscript script", &commands));
    write_file("script", "/a \"b\n");
    assert(!commands_expand("runscript script", &commands));
    write_file("script", "--env=only=options\n");
    assert(commands_expand("runscript script", &commands) && !commands.count);
}

static int notes;

static void count_note(const char *path, const char *line) {
    (void)path, (void)line;
    notes++;
}

static void check_init(void) {
    struct commands commands = {0};
    assert(commands_from_directory("init", &commands, count_note) && !commands.count);
    assert(!mkdir("init", 0700));
    write_file("init/20-b", "/b &! /c\n/d x\n");
    write_file("init/10-a", "/a");
    assert(commands_from_directory("init", &commands, count_note));
    check("/init", describe_commands(&commands), "[/a];[/b]&![/c];[/d][x];");
    assert(notes == 3);
    write_file("init/30", "/a \"");
    assert(!commands_from_directory("init", &commands, count_note));
}

static void try_random_lines(void) {
    static const char letters[] = "--=\\\"; &!$ab\t\nenv";
    const struct block *kept = blocks; // the environment's, which lasts
    srandom(1);
    for (int round = 0; round < 200000; round++) {
        char line[40];
        size_t length = (size_t)random() % sizeof(line);
        for (size_t i = 0; i < length; i++)
            line[i] = letters[(size_t)random() % (sizeof(letters) - 1)];
        line[length ? length - 1 : 0] = 0;
        struct options options;
        struct commands commands;
        options_parse(line, &options);
        if (commands_parse(options.application, &commands))
            for (size_t i = 0; i < commands.count; i++)
                assert(commands.list[i].words.count);
        forget_after(kept);
    }
}

int main(int argc, char **argv) {
    assert(argc == 2 && !chdir(argv[1]));
    assert(variable_set("AA", 2, "aa", true));
    for (size_t i = 0; i < sizeof(option_cases) / sizeof(option_cases[0]); i++)
        check(option_cases[i].line, describe_options(option_cases[i].line), option_cases[i].result);
    for (size_t i = 0; i < sizeof(command_cases) / sizeof(command_cases[0]); i++) {
        struct commands commands;
        bool parsed = commands_parse(command_cases[i].line, &commands);
        check(command_cases[i].line, parsed ? describe_commands(&commands) : "cannot be parsed",
              command_cases[i].result ? command_cases[i].result : "cannot be parsed");
    }
    check_addresses();
    check_scripts();
    check_init();
    try_random_lines();
    puts("parsed as it should");
    return 0;
}
