// What the REST server on a host must not do to the host: link with
// -Wl,--wrap=reboot,--wrap=sethostname,--wrap=gethostname.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char host_name[65] = "host.under.test";

int __wrap_reboot(int command);
int __wrap_reboot(int command) {
    printf("reboot %#x\n", (unsigned)command);
    exit(0);
}

int __wrap_sethostname(const char *name, size_t length);
int __wrap_sethostname(const char *name, size_t length) {
    if (length >= sizeof(host_name)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(host_name, name, length);
    host_name[length] = 0;
    return 0;
}

int __wrap_gethostname(char *name, size_t size);
int __wrap_gethostname(char *name, size_t size) {
    strncpy(name, host_name, size);
    return 0;
}
