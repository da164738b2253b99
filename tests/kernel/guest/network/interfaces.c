// Interfaces as programs ask for them: by ioctl, getifaddrs, if_nameindex; and names of hosts.
// What is not the loopback interface is only printed, for the test to look at.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/check.h"

static struct ifreq ask(int fd, unsigned long command, const char *name) {
    struct ifreq request = {0};
    strncpy(request.ifr_name, name, IF_NAMESIZE - 1);
    CHECK(ioctl(fd, command, &request) == 0);
    return request;
}

static const char *text_of(const struct sockaddr *address) {
    static char text[INET_ADDRSTRLEN];
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    return inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
}

static void test_requests(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = ask(fd, SIOCGIFADDR, "lo");
    CHECK(strcmp(text_of(&request.ifr_addr), "127.0.0.1") == 0);
    request = ask(fd, SIOCGIFNETMASK, "lo");
    CHECK(strcmp(text_of(&request.ifr_netmask), "255.0.0.0") == 0);
    request = ask(fd, SIOCGIFFLAGS, "lo");
    CHECK((request.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING)) ==
          (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
    CHECK(ask(fd, SIOCGIFMTU, "lo").ifr_mtu >= 16436);
    CHECK(ask(fd, SIOCGIFHWADDR, "lo").ifr_hwaddr.sa_family == 772);
    CHECK(ask(fd, SIOCGIFINDEX, "lo").ifr_ifindex == 1);
    CHECK(if_nametoindex("lo") == 1 && if_nametoindex("none") == 0 && errno == ENODEV);
    char name[IF_NAMESIZE];
    CHECK(if_indextoname(1, name) != NULL && strcmp(name, "lo") == 0);
    CHECK(if_indextoname(999, name) == NULL && errno == ENXIO);
    struct ifreq list[16];
    struct ifconf all = {.ifc_len = sizeof(list), .ifc_req = list};
    CHECK(ioctl(fd, SIOCGIFCONF, &all) == 0 && all.ifc_len >= (int)sizeof(list[0]));
    CHECK(strcmp(list[0].ifr_name, "lo") == 0);
    all = (struct ifconf){.ifc_len = 5, .ifc_req = list}; // no room for one
    CHECK(ioctl(fd, SIOCGIFCONF, &all) == 0 && all.ifc_len == 0);
    CHECK(ioctl(fd, SIOCGIFADDR, (void *)8) < 0 && errno == EFAULT);
    CHECK(close(fd) == 0);
}

static void test_lists(void) {
    struct if_nameindex *names = if_nameindex();
    CHECK(names != NULL && names[0].if_index == 1 && strcmp(names[0].if_name, "lo") == 0);
    if_freenameindex(names);
    struct ifaddrs *all;
    int links = 0, addresses = 0;
    CHECK(getifaddrs(&all) == 0);
    for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL)
            continue;
        if (i->ifa_addr->sa_family == AF_PACKET && strcmp(i->ifa_name, "lo") == 0) {
            struct sockaddr_ll *link = (struct sockaddr_ll *)i->ifa_addr;
            CHECK(link->sll_ifindex == 1 && link->sll_halen == 6 && i->ifa_flags & IFF_LOOPBACK);
            links++;
        } else if (i->ifa_addr->sa_family == AF_INET && strcmp(i->ifa_name, "lo") == 0) {
            CHECK(strcmp(text_of(i->ifa_addr), "127.0.0.1") == 0);
            CHECK(strcmp(text_of(i->ifa_netmask), "255.0.0.0") == 0);
            addresses++;
        } else if (i->ifa_addr->sa_family == AF_INET) {
            printf("%s has address %s", i->ifa_name, text_of(i->ifa_addr));
            printf(" mask %s", text_of(i->ifa_netmask));
            printf(" broadcast %s\n", text_of(i->ifa_broadaddr));
        }
    }
    CHECK(links == 1 && addresses == 1);
    freeifaddrs(all);
}

// Numbers need no server; a name needs one, or /etc/hosts. IPv6 is there or not, both is well.
static void test_names(void) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    hints.ai_flags = AI_NUMERICHOST;
    CHECK(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0);
    CHECK(found->ai_family == AF_INET && strcmp(text_of(found->ai_addr), "127.0.0.1") == 0);
    CHECK(((struct sockaddr_in *)found->ai_addr)->sin_port == htons(80));
    freeaddrinfo(found);
    hints.ai_flags = AI_PASSIVE | AI_ADDRCONFIG;
    CHECK(getaddrinfo(NULL, "8000", &hints, &found) == 0);
    int served = 0; // as servers do it: the first that works
    for (struct addrinfo *i = found; i != NULL && !served; i = i->ai_next) {
        int fd = socket(i->ai_family, i->ai_socktype, i->ai_protocol);
        served = fd >= 0 && listen(fd, 5) == 0;
        if (fd >= 0)
            CHECK(close(fd) == 0);
    }
    CHECK(served);
    freeaddrinfo(found);
}

int main(void) {
    test_requests();
    test_lists();
    test_names();
    puts("interfaces: ok");
    return 0;
}
