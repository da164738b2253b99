// The runtime as an ordinary Linux program: the kernel image without its core.
//
// Linux loads it as a shared object that happens to have an entry point; it relocates itself,
// joins its arguments to a kernel command line and goes on as in the kernel. The functions
// that the core would supply do what makes sense on a host.

#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "image.h"
#include "runtime.h"

const struct clock_data clock_data = {0};

_Noreturn void host_main(long *stack);

int core_mount_root(const char *type, bool pivot) {
    (void)pivot;
    return type && strcmp(type, "rofs") && strcmp(type, "ramfs") ? -ENODEV : 0;
}

void core_mount_bootfs(void) {}

int core_module_start(const void *entry) {
    (void)entry;
    return -ENOSYS;
}

bool core_filesystem_known(const char *type) {
    (void)type;
    return false;
}

int core_mount(const char *type, const char *device, const char *path) {
    (void)type, (void)device, (void)path;
    return -ENOSYS;
}

void core_set_verbose(bool on) {
    (void)on;
}

int core_set_console(const char *name) {
    return strcmp(name, "serial") && strcmp(name, "vga") && strcmp(name, "all") ? -EINVAL : 0;
}

void core_power_off_on_abort(bool on) {
    (void)on;
}

void core_bootchart(bool on) {
    (void)on;
}

void core_booted(void) {
    dprintf(1, "Booted up in 0.00 ms\n");
}

int core_share(u64 kernel_address, size_t size, u64 address, int protection) {
    (void)kernel_address, (void)size, (void)address, (void)protection;
    return -ENOSYS; // then the runtime copies
}

int core_own(u64 address, size_t size, bool mine) {
    (void)address, (void)size, (void)mine;
    return 0; // Linux has no such thing: it stays until the end
}

void core_report_started(int pid, const char *command) {
    (void)pid, (void)command;
}

void core_report_ended(int pid, int status) {
    (void)pid, (void)status;
}

_Noreturn void core_shutdown(int status) {
    _exit(status);
}

// There is a network card when the command line speaks of one.
static char line[32768];
static char card_address[16];

int core_network_address(const char *interface, const char *address, const char *netmask) {
    if (strchr(address, 'x') || strchr(netmask, 'x'))
        return -EINVAL;
    snprintf(card_address, sizeof(card_address), "%s", address);
    return strcmp(interface, "eth0") ? -ENODEV : 0;
}

int core_network_gateway(const char *address) {
    return strchr(address, 'x') ? -EINVAL : strncmp(address, "10.", 3) ? -ENETUNREACH : 0;
}

int core_network_nameserver(const char *address) {
    return strchr(address, 'x') ? -EINVAL : 0;
}

bool core_network_wait(void) {
    return true;
}

bool core_network_interface(int number, char name[16], char address[16]) {
    strcpy(name, "eth0");
    strcpy(address, card_address);
    return number == 0 && strstr(line, "--ip=");
}

// Arguments are joined with blanks, as a boot loader would hand them over.
_Noreturn void host_main(long *stack) {
    // Addresses in the data are still link addresses.
    image_move(image_bias(), 0);
    image_bind(0);
    size_t used = 0;
    for (long i = 1; i <= stack[0] - 1; i++) {
        const char *argument = (const char *)stack[1 + i];
        for (const char *c = i > 1 ? " " : ""; *c && used < sizeof(line) - 1; c++)
            line[used++] = *c;
        for (; *argument && used < sizeof(line) - 1; argument++)
            line[used++] = *argument;
    }
    runtime_main(line);
}

__asm__(".globl host_start\n.hidden host_start\n"
        "host_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call host_main\n"
        "    ud2\n");
