// /network: interfaces and routes.

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "proc.h"

#define MOST_INTERFACES 64

// Counters of /proc/net/dev, in its order, by the names of struct if_data (FreeBSD).
static const char *const received[] = {"ifi_ibytes", "ifi_ipackets", "ifi_ierrors", "ifi_iqdrops",
                                       NULL,         NULL,           NULL,          "ifi_imcasts"};
static const char *const sent[] = {"ifi_obytes", "ifi_opackets",   "ifi_oerrors", "ifi_oqdrops",
                                   NULL,         "ifi_collisions", NULL,          NULL};

static void add_address(struct buffer *out, const char *key, const struct sockaddr *address) {
    char text[INET_ADDRSTRLEN];
    if (address && address->sa_family == AF_INET &&
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof(text)))
        json_text_member(out, key, text);
}

static void add_flags(struct buffer *out, unsigned flags) {
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {
        {IFF_UP, "UP"},
        {IFF_BROADCAST, "BROADCAST"},
        {IFF_LOOPBACK, "LOOPBACK"},
        {IFF_RUNNING, "RUNNING"},
        {IFF_NOARP, "NOARP"},
        {IFF_PROMISC, "PROMISC"},
        {IFF_MULTICAST, "MULTICAST"},
    };
    char text[128];
    int used = snprintf(text, sizeof(text), "%x", flags);
    char separator = '<';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (flags & names[i].flag) {
            used += snprintf(text + used, sizeof(text) - (size_t)used, "%c%s", separator,
                             names[i].name);
            separator = ',';
        }
    snprintf(text + used, sizeof(text) - (size_t)used, separator == '<' ? "<>" : ">");
    json_text_member(out, "flags", text);
}

// What only an ioctl tells (netdevice(7)).
static void add_link(struct buffer *out, const char *name) {
    struct ifreq request = {0};
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (!ioctl(handle, SIOCGIFMTU, &request)) {
        char mtu[16];
        snprintf(mtu, sizeof(mtu), "%d", request.ifr_mtu);
        json_text_member(out, "mtu", mtu);
    }
    if (!ioctl(handle, SIOCGIFHWADDR, &request)) {
        const unsigned char *b = (const unsigned char *)request.ifr_hwaddr.sa_data;
        char address[24];
        snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3],
                 b[4], b[5]);
        json_text_member(out, "phys_addr", address);
    }
    close(handle);
}

static void add_counters(struct buffer *out, const char *name, const char *table) {
    const char *line = table, *at = NULL;
    size_t length = strlen(name);
    for (; line && *line && !at; line = strchr(line, '\n')) {
        line += strspn(line, " \n");
        if (!strncmp(line, name, length) && line[length] == ':')
            at = line + length + 1;
    }
    json_key(out, "data");
    json_open(out, '{');
    for (int i = 0; at && i < 16; i++) {
        char *end;
        unsigned long long value = strtoull(at, &end, 10);
        const char *key = i < 8 ? received[i] : sent[i - 8];
        at = end == at ? NULL : end;
        if (key)
            json_number_member(out, key, (long long)value);
    }
    json_close(out, '}');
}

static void add_interface(struct buffer *out, const char *name, unsigned flags,
                          const struct ifaddrs *addresses, const char *table) {
    const struct ifaddrs *a = addresses;
    struct timespec now;
    while (a && (strcmp(a->ifa_name, name) || !a->ifa_addr || a->ifa_addr->sa_family != AF_INET))
        a = a->ifa_next;
    clock_gettime(CLOCK_REALTIME, &now);
    json_open(out, '{');
    json_key(out, "config");
    json_open(out, '{');
    json_text_member(out, "name", name);
    if (a) {
        add_address(out, "addr", a->ifa_addr);
        add_address(out, "mask", a->ifa_netmask);
        if (flags & IFF_BROADCAST)
            add_address(out, "broadcast", a->ifa_broadaddr);
    }
    add_flags(out, flags);
    add_link(out, name);
    json_close(out, '}');
    add_counters(out, name, table);
    json_number_member(out, "time", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    json_close(out, '}');
}

// Each name once: an interface is listed once per address.
static bool is_first(const struct ifaddrs *list, const struct ifaddrs *one) {
    for (; list != one; list = list->ifa_next)
        if (!strcmp(list->ifa_name, one->ifa_name))
            return false;
    return true;
}

// All interfaces, or the one called `wanted`. How many there were; -1: the reply says why not.
static int add_interfaces(struct call *call, const char *wanted) {
    struct ifaddrs *list;
    struct buffer table = {0};
    int found = 0;
    if (getifaddrs(&list)) {
        reply_errno(call, errno, "interfaces");
        return -1;
    }
    if (!proc_read("/proc/net/dev", &table))
        buffer_free(&table);
    for (const struct ifaddrs *one = list; one && found < MOST_INTERFACES; one = one->ifa_next)
        if ((!wanted || !strcmp(wanted, one->ifa_name)) && is_first(list, one)) {
            add_interface(&call->reply.body, one->ifa_name, one->ifa_flags, list, table.bytes);
            found++;
        }
    buffer_free(&table);
    freeifaddrs(list);
    return found;
}

void network_interfaces(struct call *call) {
    json_open(&call->reply.body, '[');
    if (add_interfaces(call, NULL) >= 0)
        json_close(&call->reply.body, ']');
}

void network_interface(struct call *call) {
    if (!add_interfaces(call, call->captured))
        reply_error(call, 404, "Interface %s not found", call->captured);
}

static int prefix_length(unsigned mask) {
    return __builtin_popcount(mask);
}

// A line of /proc/net/route: addresses are hexadecimal, as they lie in memory.
static void add_route(struct buffer *out, const char *line) {
    char name[IFNAMSIZ], destination[INET_ADDRSTRLEN + 4] = "default", gateway[INET_ADDRSTRLEN];
    char flags[4];
    unsigned to, through, bits, mask;
    if (sscanf(line, "%15s %x %x %x %*s %*s %*s %x", name, &to, &through, &bits, &mask) != 5)
        return;
    if (to || mask) {
        inet_ntop(AF_INET, &to, destination, sizeof(destination));
        if (mask != 0xffffffff)
            snprintf(destination + strlen(destination), 4, "/%d", prefix_length(mask));
    }
    inet_ntop(AF_INET, &through, gateway, sizeof(gateway));
    snprintf(flags, sizeof(flags), "%s%s%s", bits & 1 ? "U" : "", bits & 2 ? "G" : "",
             bits & 4 ? "H" : "");
    json_open(out, '{');
    json_text_member(out, "destination", destination);
    json_text_member(out, "gateway", gateway);
    json_text_member(out, "flags", flags);
    json_text_member(out, "netif", name);
    json_key(out, "ipv6");
    json_bool(out, false);
    json_close(out, '}');
}

void network_routes(struct call *call) {
    struct buffer text = {0};
    if (!proc_read("/proc/net/route", &text)) {
        reply_errno(call, errno, "/proc/net/route");
        return;
    }
    json_open(&call->reply.body, '[');
    for (const char *line = strchr(text.bytes, '\n'); line && line[1];
         line = strchr(line + 1, '\n'))
        add_route(&call->reply.body, line + 1);
    json_close(&call->reply.body, ']');
    buffer_free(&text);
}
