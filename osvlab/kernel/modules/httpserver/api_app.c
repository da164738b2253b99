// /app: starting programs in the guest. What they print goes to the console.

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api.h"
#include "commands_memory.h"
#include "environment.h"
#include "runtime/commands.h"

// Programs that have ended are only known as ended once they have been waited for.
static void collect_ended(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static bool can_run(struct call *call, const struct commands *commands) {
    if (!commands->count) {
        reply_error(call, 400, "The command is empty");
        return false;
    }
    for (size_t i = 0; i + 1 < commands->count; i++)
        if (commands->list[i].ending == FOREGROUND || commands->list[i].ending == ALONE) {
            reply_error(call, 400, "Commands that wait for each other cannot be run: use & for ;");
            return false;
        }
    return true;
}

// The lab kernel's linker says why in dlerror(), Linux has only a number.
static void say_why(struct call *call, const char *program, int error) {
    const char *reason = dlerror();
    reply_error(call, 500, "Failed to load object: %s (%s)", program,
                reason ? reason : strerror(error));
}

static bool start(struct call *call, const struct command *command, char **environment, pid_t *id) {
    sigset_t all;
    posix_spawnattr_t attributes;
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &all);
    dlerror(); // forget what was before
    int error = posix_spawnp(id, command->words.list[0], NULL, &attributes, command->words.list,
                             environment);
    posix_spawnattr_destroy(&attributes);
    if (error)
        say_why(call, command->words.list[0], error);
    return !error;
}

void app_start(struct call *call) {
    struct commands commands;
    char ids[1024] = "";
    bool ignored;
    if (!call_bool(call, "new_program", false, &ignored)) // here every program is one of its own
        return;
    collect_ended();
    if (!commands_parse(call_parameter(call, "command"), &commands)) {
        reply_error(call, 400, "Failed to parse command line.");
        commands_forget();
        return;
    }
    char **environment = environment_list();
    bool good = can_run(call, &commands);
    fflush(NULL);
    for (size_t i = 0, used = 0; good && i < commands.count; i++) {
        pid_t id = 0;
        good = start(call, &commands.list[i], environment, &id);
        if (good && used < sizeof(ids))
            used += (size_t)snprintf(ids + used, sizeof(ids) - used, used ? " %d" : "%d", (int)id);
    }
    if (good)
        reply_text(call, ids);
    environment_free(environment);
    commands_forget();
}

// A thread exists if it has a directory in /proc.
void app_finished(struct call *call) {
    char path[64];
    long long id;
    if (!call_number(call, "tid", 0, &id))
        return;
    collect_ended();
    snprintf(path, sizeof(path), "/proc/%lld", id);
    reply_text(call, id <= 0 || access(path, F_OK) ? "1" : "0");
}
