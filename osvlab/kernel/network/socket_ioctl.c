// Requests to interfaces and routes, which may be made on any socket (netdevice(7), rtnetlink's
// forerunner SIOCADDRT).

#include "socket_layer.h"

#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

#include "interface.h"
#include "ipv4.h"
#include "user.h"

#define HARDWARE_ETHERNET 1 // ARPHRD_ETHER
#define HARDWARE_LOOPBACK 772

static void set_address(struct sockaddr *out, ipv4_address address) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    memcpy(out, &in, sizeof(in));
}

static ipv4_address address_of(const struct sockaddr *from) {
    struct sockaddr_in in;
    memcpy(&in, from, sizeof(in));
    return in.sin_addr.s_addr;
}

// --- SIOCGIFCONF: a list of all interfaces that have an address ---

struct listing {
    struct ifreq *user;
    size_t room, used;
    int status;
};

static void list_one(struct interface *interface, void *argument) {
    struct listing *listing = argument;
    struct ifreq request = {0};
    if (interface->address == 0 || listing->status < 0)
        return;
    memcpy(request.ifr_name, interface->name, sizeof(request.ifr_name));
    set_address(&request.ifr_addr, interface->address);
    if (listing->user != NULL) { // otherwise only the size is asked for
        if (listing->room - listing->used < sizeof(request))
            return;
        listing->status =
            user_write((u8 *)listing->user + listing->used, &request, sizeof(request));
    }
    listing->used += sizeof(request);
}

static long list_interfaces(u64 user) {
    struct ifconf list;
    if (user_read(&list, (void *)user, sizeof(list)) < 0)
        return -EFAULT;
    struct listing listing = {.user = list.ifc_req, .room = (size_t)MAX(list.ifc_len, 0)};
    interfaces_each(list_one, &listing);
    list.ifc_len = (int)listing.used;
    return listing.status < 0 ? listing.status : user_write((void *)user, &list, sizeof(list));
}

// --- One interface ---

static long ask(const struct interface *interface, unsigned command, struct ifreq *request) {
    ipv4_address address = interface->address, mask = interface->netmask;
    bool loopback = interface->flags & IFF_LOOPBACK;
    switch (command) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
        if (address == 0)
            return -EADDRNOTAVAIL;
        set_address(&request->ifr_addr, command == SIOCGIFNETMASK ? mask
                                        : command == SIOCGIFBRDADDR
                                            ? (loopback ? 0 : address | ~mask)
                                            : address);
        return 0;
    case SIOCGIFFLAGS:
        request->ifr_flags = (short)interface->flags;
        return 0;
    case SIOCGIFMTU:
        request->ifr_mtu = (int)interface->mtu;
        return 0;
    case SIOCGIFHWADDR:
        memset(&request->ifr_hwaddr, 0, sizeof(request->ifr_hwaddr));
        request->ifr_hwaddr.sa_family = loopback ? HARDWARE_LOOPBACK : HARDWARE_ETHERNET;
        memcpy(request->ifr_hwaddr.sa_data, interface->mac, sizeof(interface->mac));
        return 0;
    case SIOCGIFINDEX:
        request->ifr_ifindex = interface->index;
        return 0;
    case SIOCGIFMETRIC:
        request->ifr_metric = 0;
        return 0;
    case SIOCGIFTXQLEN:
        request->ifr_qlen = 1000;
        return 0;
    default:
        return -ENOTTY;
    }
}

// The netmask that an address without one gets (RFC 791's classes; ifconfig relies on it).
static ipv4_address class_mask(ipv4_address address) {
    u32 first = swap32(address) >> 24;
    return swap32(first < 128 ? 0xff000000 : first < 192 ? 0xffff0000 : 0xffffff00);
}

static long change(struct interface *interface, unsigned command, const struct ifreq *request) {
    ipv4_address address = address_of(&request->ifr_addr);
    const unsigned settable = IFF_UP;
    switch (command) {
    case SIOCSIFADDR:
        if (request->ifr_addr.sa_family != AF_INET)
            return -EINVAL;
        interface_set_address(interface, address, class_mask(address));
        return 0;
    case SIOCSIFNETMASK:
        if (interface->address == 0)
            return -EADDRNOTAVAIL;
        interface_set_address(interface, interface->address, address);
        return 0;
    case SIOCSIFBRDADDR: // follows from the two above
        return 0;
    case SIOCSIFFLAGS:
        interface->flags =
            (interface->flags & ~settable) | ((unsigned)request->ifr_flags & settable);
        return 0;
    default:
        return -ENOTTY;
    }
}

static bool is_change(unsigned command) {
    return command == SIOCSIFADDR || command == SIOCSIFNETMASK || command == SIOCSIFBRDADDR ||
           command == SIOCSIFFLAGS;
}

static long request_one(unsigned command, u64 user) {
    struct ifreq request;
    if (user_read(&request, (void *)user, sizeof(request)) < 0)
        return -EFAULT;
    request.ifr_name[sizeof(request.ifr_name) - 1] = '\0';
    struct interface *interface = command == SIOCGIFNAME ? interface_of_index(request.ifr_ifindex)
                                                         : interface_find(request.ifr_name);
    if (interface == NULL)
        return -ENODEV;
    if (is_change(command))
        return change(interface, command, &request);
    if (command == SIOCGIFNAME)
        memcpy(request.ifr_name, interface->name, sizeof(request.ifr_name));
    else if (ask(interface, command, &request) < 0)
        return ask(interface, command, &request);
    return user_write((void *)user, &request, sizeof(request));
}

// --- Routes: there is one that can be set, the default ---

struct search {
    ipv4_address near;
    struct interface *found;
};

static void leads_there(struct interface *interface, void *argument) {
    struct search *search = argument;
    if (interface->address != 0 && !(interface->flags & IFF_LOOPBACK) &&
        ((interface->address ^ search->near) & interface->netmask) == 0)
        search->found = interface;
}

static void has_gateway(struct interface *interface, void *argument) {
    struct search *search = argument;
    if (interface->gateway != 0 && (search->near == 0 || search->near == interface->gateway))
        search->found = interface;
}

static long request_route(unsigned command, u64 user) {
    struct rtentry route;
    if (user_read(&route, (void *)user, sizeof(route)) < 0)
        return -EFAULT;
    if (address_of(&route.rt_dst) != 0)
        return -EOPNOTSUPP;
    struct search search = {.near = address_of(&route.rt_gateway)};
    interfaces_each(command == SIOCADDRT ? leads_there : has_gateway, &search);
    if (search.found == NULL || (command == SIOCADDRT && search.near == 0))
        return command == SIOCADDRT ? -ENETUNREACH : -ESRCH;
    search.found->gateway = command == SIOCADDRT ? search.near : 0;
    return 0;
}

long interface_request(unsigned command, u64 argument) {
    long status;
    if (command < SIOCADDRT || command > SIOCSIFTXQLEN)
        return -ENOTTY;
    if (network_start() < 0)
        return -ENOMEM;
    network_lock();
    switch (command) {
    case SIOCGIFCONF:
        status = list_interfaces(argument);
        break;
    case SIOCADDRT:
    case SIOCDELRT:
        status = request_route(command, argument);
        break;
    default:
        status = request_one(command, argument);
    }
    network_unlock();
    return status;
}
