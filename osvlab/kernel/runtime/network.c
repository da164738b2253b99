// The network's part of booting: addresses from the options or from DHCP (osv loader.cc).

#include "network.h"

#include <stdio.h>
#include <string.h>

#include "keep.h"
#include "runtime.h"
#include "variables.h"

// Says what is wrong with an address, if anything is.
static bool accepted(int error, const char *option, const char *value) {
    if (error == -EINVAL)
        dprintf(1, "incorrect parameter on --%s: not an IPv4 address: %s\n", option, value);
    else if (error < 0)
        dprintf(1, "Could not set --%s=%s: %s\n", option, value, strerror(-error));
    return error != -EINVAL;
}

static bool set_address(const char *value) {
    char *copy = keep(strlen(value) + 1), *parts[3];
    if (!copy)
        return false;
    strcpy(copy, value);
    bool good = options_split_address(copy, parts);
    if (good) {
        dprintf(1, "%s: %s\n", parts[0], parts[1]);
        good = accepted(core_network_address(parts[0], parts[1], parts[2]), "ip", value);
    } else {
        dprintf(1, "incorrect parameter on --ip\n");
    }
    return good;
}

static bool set_addresses(const struct options *options) {
    const char *gateway = options->defaultgw, *nameserver = options->nameserver;
    for (size_t i = 0; i < options->ip.count; i++)
        if (!set_address(options->ip.list[i]))
            return false;
    return (!gateway || accepted(core_network_gateway(gateway), "defaultgw", gateway)) &&
           (!nameserver || accepted(core_network_nameserver(nameserver), "nameserver", nameserver));
}

static void say_addresses(void) {
    char name[16], address[16];
    for (int i = 0; core_network_interface(i, name, address); i++)
        if (address[0])
            dprintf(1, "%s: %s\n", name, address);
        else
            dprintf(1, "%s: no answer from DHCP; going on without an address\n", name);
}

// OSV_IP is there only when there can be no doubt which address is meant.
static void set_environment(void) {
    char name[16], address[16], other[16];
    if (core_network_interface(0, name, address) && address[0] &&
        !core_network_interface(1, name, other))
        variable_set("OSV_IP", strlen("OSV_IP"), address, true);
}

bool network_prepare(const struct options *options) {
    char name[16], address[16];
    if (!core_network_interface(0, name, address))
        return true;
    if (options->ip.count) {
        if (!set_addresses(options))
            return false;
    } else {
        core_network_wait();
        say_addresses();
    }
    set_environment();
    return true;
}
