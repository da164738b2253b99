// Parsing the kernel's options: see options.h.
//
// Only `--key` and `--key=value` exist. A backslash takes the next character as it is, so that
// values may contain blanks. Where OSv calls a known option without its value unrecognized,
// the missing value is named here.

#include "options.h"

#include <stdio.h>
#include <string.h>

#include "keep.h"

const char options_usage[] =
    "OSv options (of the osvlab lab kernel):\n"
    "  --help                show help text\n"
    "  --nomount             don't mount the root file system\n"
    "  --nopivot             do not pivot the root from bootfs to the root fs\n"
    "  --rootfs=arg          root filesystem to use (rofs, zfs or ramfs)\n"
    "  --preload-zfs-library load the ZFS module also where nothing is mounted\n"
    "  --norandom            don't initialize any random device\n"
    "  --noshutdown          continue running after main() returns\n"
    "  --power-off-on-abort  power off when aborted (this kernel always does)\n"
    "  --noinit              don't run commands from /init\n"
    "  --verbose             be verbose, print debug messages\n"
    "  --console=arg         select console driver (serial, vga or all)\n"
    "  --env=arg             set Unix-like environment variable (putenv())\n"
    "  --cwd=arg             set current working directory\n"
    "  --bootchart           print how long the steps of booting took\n"
    "  --redirect=arg        redirect stdout and stderr to file (>>file appends)\n"
    "  --disable_rofs_cache  disable ROFS memory cache\n"
    "  --nopci               disable PCI enumeration\n"
    "  --mount-fs=arg        mount extra filesystem, format:<fs_type,url,path>\n"
    "  --ip=arg              set static IP on NIC, format:<nic,address,netmask>\n"
    "  --defaultgw=arg       set default gateway address\n"
    "  --nameserver=arg      set nameserver address\n";

enum kind { FLAG, FIRST, ALL }; // takes no value; the first value counts; all values count

struct known {
    const char *name;
    enum kind kind;
    size_t offset; // in struct options: a bool, const char * or struct texts
    bool notice;   // says so when further values are ignored
};

#define FLAG_OPTION(name, member) {name, FLAG, offsetof(struct options, member), false}
static const struct known known_options[] = {
    FLAG_OPTION("help", help),
    FLAG_OPTION("verbose", verbose),
    FLAG_OPTION("bootchart", bootchart),
    FLAG_OPTION("noshutdown", noshutdown),
    FLAG_OPTION("nomount", nomount),
    FLAG_OPTION("nopivot", nopivot),
    FLAG_OPTION("noinit", noinit),
    FLAG_OPTION("norandom", norandom),
    FLAG_OPTION("nopci", nopci),
    FLAG_OPTION("power-off-on-abort", power_off_on_abort),
    FLAG_OPTION("disable_rofs_cache", disable_rofs_cache),
    FLAG_OPTION("preload-zfs-library", preload_zfs),
    {"rootfs", FIRST, offsetof(struct options, rootfs), true},
    {"console", FIRST, offsetof(struct options, console), true},
    {"cwd", FIRST, offsetof(struct options, cwd), true},
    {"redirect", FIRST, offsetof(struct options, redirect), false},
    {"env", ALL, offsetof(struct options, env), false},
    {"mount-fs", ALL, offsetof(struct options, mount_fs), false},
    {"ip", ALL, offsetof(struct options, ip), false},
    {"defaultgw", FIRST, offsetof(struct options, defaultgw), false},
    {"nameserver", FIRST, offsetof(struct options, nameserver), false},
};

static void say(struct texts *texts, const char *before, const char *text, const char *after) {
    char line[512];
    snprintf(line, sizeof(line), "%s%s%s", before, text, after);
    texts_add(texts, line, strlen(line));
}

// Says something about the option of a token, which is `--key` or `--key=value`.
static void say_key(struct texts *texts, const char *before, const char *token, const char *after) {
    char key[128];
    snprintf(key, sizeof(key), "%.*s", (int)strcspn(token + 2, "="), token + 2);
    say(texts, before, key, after);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n';
}

// Takes the leading tokens that begin with a dash; returns where the application's part begins.
static const char *take_tokens(const char *at, struct texts *tokens) {
    char *token = keep(strlen(at) + 1);
    for (;;) {
        while (is_blank(*at))
            at++;
        if (*at != '-' || !token)
            break;
        size_t length = 0;
        for (; *at && !is_blank(*at); at++) {
            if (*at == '\\' && at[1])
                at++;
            token[length++] = *at;
        }
        texts_add(tokens, token, length);
    }
    return at;
}

static const struct known *find_known(const char *key, size_t length) {
    for (size_t i = 0; i < sizeof(known_options) / sizeof(known_options[0]); i++)
        if (strlen(known_options[i].name) == length && !strncmp(known_options[i].name, key, length))
            return &known_options[i];
    return NULL;
}

// Did an earlier token give the same key in the other form?
static bool other_form_before(const struct texts *tokens, size_t index, size_t key_length,
                              bool has_value) {
    for (size_t i = 0; i < index; i++) {
        const char *earlier = tokens->list[i];
        size_t length = strcspn(earlier, "=");
        if (length == key_length && !strncmp(earlier, tokens->list[index], length) &&
            (earlier[length] == '=') != has_value)
            return true;
    }
    return false;
}

// The form of all tokens is checked before any of them means anything. False: an error was said.
static bool check_forms(const struct texts *tokens, struct texts *errors) {
    for (size_t i = 0; i < tokens->count; i++) {
        const char *token = tokens->list[i];
        size_t length = strcspn(token, "=");
        if (strncmp(token, "--", 2)) {
            say(errors, "not an option: ", token, "");
            return false;
        }
        if (other_form_before(tokens, i, length, token[length] == '=')) {
            say(errors, "duplicate option: ", token, "");
            return false;
        }
        if (token[length] == '=' && !token[length + 1]) {
            say_key(errors, "the required argument for option '--", token, "' is missing");
            return false;
        }
    }
    return true;
}

static void take_value(struct options *out, const struct known *known, const char *value) {
    void *member = (char *)out + known->offset;
    if (known->kind == ALL) {
        texts_add(member, value, strlen(value));
        return;
    }
    const char **first = member;
    if (!*first)
        *first = value;
    else if (known->notice)
        say(&out->notices, "Ignoring '--", known->name, "' options after the first.");
}

static void say_unrecognized(struct options *out, const char *token) {
    struct texts *errors = &out->errors;
    say_key(errors, "unrecognized option: ", token, "");
    for (size_t i = 0; i + 1 < errors->count; i++)
        if (!strcmp(errors->list[i], errors->list[errors->count - 1])) { // said once is enough
            errors->list[--errors->count] = NULL;
            return;
        }
}

static void take_option(struct options *out, const char *token) {
    size_t length = strcspn(token, "=");
    const struct known *known = find_known(token + 2, length - 2);
    if (!known)
        say_unrecognized(out, token);
    else if (known->kind == FLAG && token[length])
        say_key(&out->errors, "option '--", token, "' does not take any arguments");
    else if (known->kind == FLAG)
        *(bool *)((char *)out + known->offset) = true;
    else if (!token[length])
        say_key(&out->errors, "the required argument for option '--", token, "' is missing");
    else
        take_value(out, known, token + length + 1);
}

static void check_mounts(struct options *out) {
    struct texts kept = {0};
    for (size_t i = 0; i < out->mount_fs.count; i++) {
        const char *value = out->mount_fs.list[i], *first = strchr(value, ',');
        const char *second = first ? strchr(first + 1, ',') : NULL;
        if (second && first > value && second > first + 1 && second[1] && !strchr(second + 1, ','))
            texts_add(&kept, value, strlen(value));
        else
            say(&out->notices, "Ignoring value: '", value,
                "' for option mount-fs, expected in format: <fs_type,url,path>");
    }
    out->mount_fs = kept;
}

bool options_split_address(char *value, char *parts[3]) {
    size_t count = 0;
    for (char *rest = value, *part; (part = strtok_r(rest, " ,", &rest)); count++)
        if (count < 3)
            parts[count] = part;
    return count == 3;
}

void options_parse(const char *line, struct options *out) {
    *out = (struct options){0};
    out->application = take_tokens(line, &out->tokens);
    if (!check_forms(&out->tokens, &out->errors))
        return;
    for (size_t i = 0; i < out->tokens.count; i++)
        take_option(out, out->tokens.list[i]);
    check_mounts(out);
}
