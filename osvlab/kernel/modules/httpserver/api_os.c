// /os: the system as a whole. /os/threads has a file of its own.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "proc.h"

#define READ_ALL 3 // of syslog(2)
#define BUFFER_SIZE 10

// Where the boot sector's kernel finds its command line (OSv's disk layout).
#define DISK "/dev/vblk0"
#define COMMAND_LINE_AT 512
#define COMMAND_LINE_SIZE 1024

void os_name(struct call *call) {
    reply_text(call, "OSv lab kernel");
}

void os_vendor(struct call *call) {
    reply_text(call, "osvlab");
}

void os_version(struct call *call) {
    struct utsname name;
    const char *version = getenv("OSV_VERSION");
    reply_text(call, version ? version : uname(&name) ? "" : name.release);
}

void os_uptime(struct call *call) {
    struct sysinfo info = {0};
    sysinfo(&info);
    reply_number(call, info.uptime);
}

void os_date(struct call *call) {
    char text[128];
    time_t now = time(NULL);
    struct tm broken;
    localtime_r(&now, &broken);
    strftime(text, sizeof(text), "%a %b %d %H:%M:%S %Z %Y", &broken);
    reply_text(call, text);
}

void os_memory_total(struct call *call) {
    struct sysinfo info = {0};
    sysinfo(&info);
    reply_number(call, (long long)(info.totalram * info.mem_unit));
}

void os_memory_free(struct call *call) {
    struct sysinfo info = {0};
    sysinfo(&info);
    reply_number(call, (long long)(info.freeram * info.mem_unit));
}

void os_balloon(struct call *call) {
    reply_number(call, 0); // there is no balloon
}

void os_dmesg(struct call *call) {
    int size = klogctl(BUFFER_SIZE, NULL, 0);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    int used = text ? klogctl(READ_ALL, text, size) : -1;
    if (used >= 0)
        json_bytes(&call->reply.body, text, (size_t)used);
    else
        reply_errno(call, errno, "the kernel's messages");
    free(text);
}

void os_hostname(struct call *call) {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    reply_text(call, name);
}

void os_set_hostname(struct call *call) {
    const char *name = call_parameter(call, "name");
    if (!*name)
        reply_error(call, 400, "The host's name is empty");
    else if (sethostname(name, strlen(name)))
        reply_errno(call, errno, "The host's name");
    else
        reply_nothing(call);
}

void os_cmdline(struct call *call) {
    struct buffer text = {0};
    if (!proc_read("/proc/cmdline", &text)) {
        reply_errno(call, errno, "/proc/cmdline");
        return;
    }
    if (text.used && text.bytes[text.used - 1] == '\n')
        text.used--;
    json_bytes(&call->reply.body, text.bytes, text.used);
    buffer_free(&text);
}

static bool write_command_line(const char *line) {
    char area[COMMAND_LINE_SIZE] = "";
    memcpy(area, line, strlen(line));
    int disk = open(DISK, O_WRONLY | O_CLOEXEC);
    if (disk < 0)
        return false;
    bool good = pwrite(disk, area, sizeof(area), COMMAND_LINE_AT) == sizeof(area) && !fsync(disk);
    int error = errno;
    close(disk);
    errno = error;
    return good;
}

void os_set_cmdline(struct call *call) {
    const char *line = call_parameter(call, "cmdline");
    if (strlen(line) >= COMMAND_LINE_SIZE)
        reply_error(call, 400, "command line too long");
    else if (!write_command_line(line))
        reply_error(call, 500, "%s: %s", DISK, strerror(errno));
    else
        reply_text(call, line);
}

static void power_off(void) {
    sync();
    reboot(RB_POWER_OFF);
}

static void start_again(void) {
    sync();
    reboot(RB_AUTOBOOT);
}

void os_poweroff(struct call *call) {
    call->reply.afterwards = power_off;
    reply_nothing(call);
}

void os_reboot(struct call *call) {
    call->reply.afterwards = start_again;
    reply_nothing(call);
}
