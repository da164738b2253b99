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
#include "image.h"
#include "linker/linker.h"
#include "options.h"
#include "process.h"

#ifndef OSVLAB_VERSION
#define OSVLAB_VERSION "0"
#endif

#define USAGE_STATUS 2 // the command line is wrong
#define CANNOT_START 126

extern char **environ;

static struct options options;

static void debug_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void debug_line(const char *format, ...) {
    va_list list;
    if (!options.verbose)
        return;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    fflush(stdout);
}

static _Noreturn void stop(int status) {
    fflush(NULL);
    core_shutdown(status);
}

// musl's start, done by hand: nobody gave this program a stack with arguments.
static void start_libc(void) {
    static u64 stack[] = {0 /* no environment */, AT_PAGESZ, PAGE_SIZE, AT_NULL, 0};
    static char name[] = "kernel";
    struct image image;
    image_keep_data();
    image_describe(&image);
    image_bind(&image, 0);
    tls_boot();
    __init_libc((char **)stack, name);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

static void say_all(const struct texts *texts) {
    for (size_t i = 0; i < texts->count; i++)
        printf("%s\n", texts->list[i]);
}

static void apply_options_early(void) {
    core_set_verbose(options.verbose);
    core_bootchart(options.bootchart);
    core_power_off_on_abort(options.power_off_on_abort);
    if (options.console && core_set_console(options.console) < 0) {
        printf("Unknown console:%s\n", options.console);
        stop(USAGE_STATUS);
    }
}

static void set_environment(void) {
    char processors[16];
    snprintf(processors, sizeof(processors), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < options.env.count; i++) {
        debug_line("Setting in environment: %s\n", options.env.list[i]);
        putenv(options.env.list[i]);
    }
    setenv("OSV_VERSION", OSVLAB_VERSION, 1);
    setenv("OSV_CPUS", processors, 1);
}

static void mount_extra(char *setting) {
    char *device = strchr(setting, ',') + 1, *path = strchr(device, ',') + 1;
    device[-1] = path[-1] = 0;
    int error = core_mount(setting, device, path);
    if (error < 0)
        printf("Could not mount %s (%s) on %s: %s\n", device, setting, path, strerror(-error));
}

static void mount_file_systems(void) {
    if (!options.nomount) {
        int error = core_mount_root(options.rootfs, !options.nopivot);
        if (error < 0 && options.rootfs)
            printf("Could not mount %s root filesystem: %s\n", options.rootfs, strerror(-error));
        else if (error < 0)
            debug_line("Failed to discover the rootfs filesystem. Staying on bootfs.\n");
    }
    for (size_t i = 0; i < options.mount_fs.count; i++)
        mount_extra(options.mount_fs.list[i]);
    if (options.cwd) {
        debug_line("Chdir to: '%s'\n", options.cwd);
        if (chdir(options.cwd))
            printf("chdir: %s: %s\n", options.cwd, strerror(errno));
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
        printf("output redirection failed: %s: %s\n", file, strerror(errno));
        return;
    }
    printf("%s stdout and stderr to %s\n", append ? "Appending" : "Writing", file);
    fflush(stdout);
    dup2(descriptor, 1);
    dup2(descriptor, 2);
    close(descriptor);
}

static void note_script(const char *path, const char *text) {
    debug_line("Running from %s: %s\n", path, text);
}

static struct commands read_commands(void) {
    struct commands commands = {0}, typed;
    printf("Cmdline: %s\n", options.application);
    if (!commands_expand(options.application, &typed))
        stop(USAGE_STATUS);
    if (!typed.count) {
        puts("This image has an empty command line. Nothing to run.");
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
        fprintf(stderr, "Failed to load object: %s. Powering off.\n", name);
        stop(launch->refused);
    }
    core_report_ended(launch->pid, status);
    if (status)
        printf("program %s returned %d\n", name, status);
    fflush(stdout);
    return status;
}

static void start(struct launch *launch, const struct command *command) {
    fflush(NULL);
    const char *error = process_start(launch, command->words.list, environ);
    if (error) {
        fprintf(stderr, "Failed to create the main thread of %s, err=%s. Powering off.\n",
                command->words.list[0], error);
        stop(CANNOT_START);
    }
    core_report_started(launch->pid, command->words.list[0]);
}

static int run(const struct commands *commands) {
    struct launch *launches = calloc(commands->count, sizeof(*launches));
    int status = 0;
    if (!launches) {
        puts("No memory to run the commands.");
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
    free(launches);
    return status;
}

_Noreturn void runtime_main(const char *command_line) {
    start_libc();
    puts("OSv lab kernel " OSVLAB_VERSION " (osvlab)");
    options_parse(command_line, &options);
    say_all(&options.notices);
    if (options.errors.count) {
        say_all(&options.errors);
        fputs(options_usage, stdout);
        stop(USAGE_STATUS);
    }
    if (options.help)
        fputs(options_usage, stdout);
    apply_options_early();
    set_environment();
    mount_file_systems();
    fflush(stdout);
    core_booted();
    redirect_output();
    struct commands commands = read_commands();
    int status = run(&commands);
    if (options.noshutdown) {
        debug_line("main() returned.\n");
        for (;;)
            pause();
    }
    stop(status);
}
