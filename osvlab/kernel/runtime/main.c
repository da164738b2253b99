// The kernel's first thread in hosted C: reads the command line, prepares the system as its
// options say, runs the commands, and shuts down with the status of the last one.
//
// The lines it prints, and their order, are OSv's, because tools wait for them (osv loader.cc).

#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "commands.h"
#include "environment.h"
#include "image.h"
#include "keep.h"
#include "linker/linker.h"
#include "network.h"
#include "options.h"
#include "process.h"
#include "variables.h"

#ifndef OSVLAB_VERSION
#define OSVLAB_VERSION "0"
#endif

#define USAGE_STATUS 2 // the command line is wrong
#define CANNOT_START 126
#define MODULES "/usr/lib/fs"

static struct options options;

static void debug_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void debug_line(const char *format, ...) {
    va_list list;
    if (!options.verbose)
        return;
    va_start(list, format);
    vdprintf(1, format, list);
    va_end(list);
}

static _Noreturn void stop(int status) {
    core_shutdown(status);
}

// musl's start, done by hand: nobody gave this program a stack with arguments.
static void start_libc(void) {
    static u64 stack[] = {0 /* no environment */, AT_PAGESZ, PAGE_SIZE, AT_NULL, 0};
    static char name[] = "kernel";
    image_keep_data();
    image_bind(0);
    tls_boot();
    __init_libc((char **)stack, name);
}

// Writes the lines of a boot that goes well; trouble is told with dprintf (keep.h says why).
static void say(const char *text) {
    write(1, text, strlen(text));
}

static void say_all(const struct texts *texts) {
    for (size_t i = 0; i < texts->count; i++)
        dprintf(1, "%s\n", texts->list[i]);
}

static void apply_options_early(void) {
    core_set_verbose(options.verbose);
    core_bootchart(options.bootchart);
    core_power_off_on_abort(options.power_off_on_abort);
    if (options.console && core_set_console(options.console) < 0) {
        dprintf(1, "Unknown console:%s\n", options.console);
        stop(USAGE_STATUS);
    }
}

static void set(const char *name, const char *value) {
    if (!variable_set(name, strlen(name), value, true))
        dprintf(1, "No memory for the variable %s.\n", name);
}

static void set_environment(void) {
    for (size_t i = 0; i < options.env.count; i++) {
        char *setting = options.env.list[i], *equals = strchr(setting, '=');
        debug_line("Setting in environment: %s\n", setting);
        if (equals) {
            *equals = 0;
            set(setting, equals + 1);
        }
    }
    set("OSV_VERSION", OSVLAB_VERSION);
    set("OSV_CPUS", "1"); // the core runs on one processor
}

static void mount_extra(char *setting) {
    char *device = strchr(setting, ',') + 1, *path = strchr(device, ',') + 1;
    device[-1] = path[-1] = 0;
    int error = core_mount(setting, device, path);
    if (error < 0)
        dprintf(1, "Could not mount %s (%s) on %s: %s\n", device, setting, path, strerror(-error));
}

static void mount_file_systems(void) {
    if (options.nomount) {
        core_mount_bootfs();
        runtime_load_modules(MODULES);
    } else {
        int error = core_mount_root(options.rootfs, !options.nopivot);
        if (error < 0 && options.rootfs)
            dprintf(1, "Could not mount %s root filesystem: %s\n", options.rootfs,
                    strerror(-error));
        else if (error < 0)
            debug_line("Failed to discover the rootfs filesystem. Staying on bootfs.\n");
    }
    if (options.preload_zfs && !core_filesystem_known("zfs")) {
        dprintf(1, "Failed to preload ZFS library. Powering off.\n");
        stop(CANNOT_START);
    }
    for (size_t i = 0; i < options.mount_fs.count; i++)
        mount_extra(options.mount_fs.list[i]);
    if (options.cwd) {
        debug_line("Chdir to: '%s'\n", options.cwd);
        if (chdir(options.cwd))
            dprintf(1, "chdir: %s: %s\n", options.cwd, strerror(errno));
    }
}

static void redirect_output(void) {
    const char *file = options.redirect;
    if (!file)
        return;
    bool append = !strncmp(file, ">>", 2);
    if (append)
        file += 2;
    int descriptor = open(file, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0644);
    if (descriptor < 0) {
        dprintf(1, "output redirection failed: %s: %s\n", file, strerror(errno));
        return;
    }
    dprintf(1, "%s stdout and stderr to %s\n", append ? "Appending" : "Writing", file);
    dup2(descriptor, 1);
    dup2(descriptor, 2);
    close(descriptor);
}

static void note_script(const char *path, const char *text) {
    debug_line("Running from %s: %s\n", path, text);
}

static struct commands read_commands(void) {
    struct commands commands = {0}, typed;
    say("Cmdline: ");
    say(options.application);
    say("\n");
    if (!commands_expand(options.application, &typed))
        stop(USAGE_STATUS);
    if (!typed.count) {
        say("This image has an empty command line. Nothing to run.\n");
        stop(USAGE_STATUS);
    }
    if (!options.noinit && !commands_from_directory("/init", &commands, note_script))
        stop(USAGE_STATUS);
    commands_append(&commands, &typed);
    return commands;
}

// Waits for a program and reports how it ended.
static int finish(struct launch *launch, const char *name) {
    int status = process_wait(launch);
    if (launch->refused) {
        dprintf(2, "Failed to load object: %s. Powering off.\n", name);
        stop(launch->refused);
    }
    core_report_ended(launch->pid, status);
    if (status)
        dprintf(1, "program %s returned %d\n", name, status);
    return status;
}

static void start(struct launch *launch, const struct command *command) {
    const char *error =
        process_start(launch, command->words.list[0], command->words.list, environment_hold());
    environment_release();
    if (error) {
        dprintf(2, "Failed to create the main thread of %s, err=%s. Powering off.\n",
                command->words.list[0], error);
        stop(CANNOT_START);
    }
    core_report_started(launch->pid, command->words.list[0]);
}

static int run(const struct commands *commands) {
    struct launch *launches = keep(commands->count * sizeof(*launches));
    int status = 0;
    if (!launches) {
        say("No memory to run the commands.\n");
        stop(CANNOT_START);
    }
    for (size_t i = 0; i < commands->count; i++) {
        const struct command *command = &commands->list[i];
        start(&launches[i], command);
        if (command->ending == FOREGROUND || command->ending == ALONE)
            status = finish(&launches[i], command->words.list[0]);
    }
    for (size_t i = 0; i < commands->count; i++)
        if (commands->list[i].ending == BACKGROUND)
            finish(&launches[i], commands->list[i].words.list[0]);
    for (size_t i = 0; i < commands->count; i++)
        if (commands->list[i].ending == DETACHED) {
            debug_line("Requested termination of %s, waiting...\n",
                       commands->list[i].words.list[0]);
            kill(launches[i].pid, SIGTERM);
            process_wait(&launches[i]);
        }
    return status;
}

_Noreturn void runtime_main(const char *command_line) {
    start_libc();
    say("OSv lab kernel " OSVLAB_VERSION " (osvlab)\n");
    options_parse(command_line, &options);
    say_all(&options.notices);
    if (options.errors.count) {
        say_all(&options.errors);
        say(options_usage);
        stop(USAGE_STATUS);
    }
    if (options.help)
        say(options_usage);
    apply_options_early();
    set_environment();
    mount_file_systems();
    if (!network_prepare(&options))
        stop(USAGE_STATUS);
    core_booted();
    redirect_output();
    struct commands commands = read_commands();
    environment_begin(variables());
    int status = run(&commands);
    if (options.noshutdown) {
        debug_line("main() returned.\n");
        for (;;)
            pause();
    }
    stop(status);
}
