// Drivers' pure parts on the host: the partition table, devices on the command line, JSON text,
// ACPI tables in a made-up memory with recorded port accesses.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "boot.h"
#include "drivers.h"
#include "lock.h"
#include "memory.h"
#include "partition.h"
#include "power.h"
#include "report.h"
#include "virtio.h"

// --- The kernel around them ---

u64 spin_lock(struct spinlock *lock) {
    assert(!lock->held);
    lock->held = 1;
    return 0;
}
void spin_unlock(struct spinlock *lock, u64 flags) {
    (void)flags;
    lock->held = 0;
}
void uart_write(const char *text, size_t size);
void uart_write(const char *text, size_t size) {
    (void)text, (void)size;
}
void *kzalloc(size_t size) {
    return calloc(1, size);
}
int interrupt_allocate(void (*handler)(void *), void *argument) {
    (void)handler, (void)argument;
    return -ENOSPC;
}
void interrupt_route(unsigned gsi, int vector, bool level, bool low) {
    (void)gsi, (void)vector, (void)level, (void)low;
}
void virtio_interrupted(struct virtio_device *device, bool config_changed) {
    (void)device, (void)config_changed;
}
void virtio_found(struct virtio_device *device) {
    (void)device;
}

static char mapped[1024];
void *map_device(u64 physical, size_t size) {
    static u32 nothing[256];
    size_t used = strlen(mapped);
    snprintf(mapped + used, sizeof(mapped) - used, "%lx+%lx ", (long)physical, (long)size);
    return nothing;
}

static u8 memory[1 << 20]; // physical memory from 0
u64 boot_rsdp;
bool safe_read(void *to, u64 address, size_t size);
bool safe_read(void *to, u64 address, size_t size) {
    u64 physical = address - LINEAR_BASE;
    if (physical > sizeof(memory) || size > sizeof(memory) - physical)
        return false;
    memcpy(to, memory + physical, size);
    return true;
}

static char ports[256];
static u16 pm1_control;
void port_write(u16 port, unsigned size, u32 value);
void port_write(u16 port, unsigned size, u32 value) {
    size_t used = strlen(ports);
    if (port == 0xb2 && value == 0xf1)
        pm1_control = 1; // the firmware hands over
    snprintf(ports + used, sizeof(ports) - used, "%x/%u=%x ", port, size, value);
}
u32 port_read(u16 port, unsigned size);
u32 port_read(u16 port, unsigned size) {
    (void)size;
    return port == 0x604 ? pm1_control : 0;
}

// --- Partitions ---

static void entry(u8 *sector, int slot, u8 start_sector, u8 type, u32 first, u32 count) {
    u8 *e = sector + 0x1be + 16 * slot;
    e[2] = start_sector;
    e[4] = type;
    memcpy(e + 8, &first, 4);
    memcpy(e + 12, &count, 4);
}

static void test_partitions(void) {
    u8 sector[SECTOR_SIZE] = {0};
    struct partition p[PARTITIONS];

    entry(sector, 1, 3, 0x83, 8192, 3379);
    assert(!partitions_read(sector, 20000, p)); // no signature
    sector[510] = 0x55, sector[511] = 0xaa;
    assert(partitions_read(sector, 20000, p));
    assert(!p[0].present && p[1].present && !p[2].present && !p[3].present);
    assert(p[1].first_sector == 8192 && p[1].sectors == 3379);

    entry(sector, 0, 0x40, 0x83, 1, 1); // start sector 0 in the low six bits: OSv ignores it
    entry(sector, 2, 1, 0, 1, 1);       // type 0
    entry(sector, 3, 0x41, 0x83, 19990, 4000000000U); // beyond the end: cut
    assert(partitions_read(sector, 20000, p));
    assert(!p[0].present && !p[2].present && p[3].present && p[3].sectors == 10);
    assert(partitions_read(sector, 8192, p) && p[1].present && p[1].sectors == 0);
    assert(partitions_read(sector, 8191, p) && !p[1].present);
}

// --- virtio_mmio.device=... ---

static void check_line(const char *before, const char *after, const char *windows) {
    static char seen_before[1024];
    char line[1024];

    strcpy(line, before);
    virtio_mmio_take_devices(line);
    if (strcmp(line, after) != 0) {
        fprintf(stderr, "'%s' became '%s', not '%s'\n", before, line, after);
        exit(1);
    }
    mapped[0] = 0;
    virtio_mmio_probe(); // maps all windows so far
    size_t known = strlen(seen_before);
    assert(!strncmp(mapped, seen_before, known));
    if (strcmp(mapped + known, windows) != 0) {
        fprintf(stderr, "'%s' gave windows '%s', not '%s'\n", before, mapped + known, windows);
        exit(1);
    }
    strcpy(seen_before, mapped);
}

static void test_command_line(void) {
    check_line("", "", "");
    check_line("/hello a b", "/hello a b", "");
    check_line("/hello virtio_mmio.device=512@0xfeb00e00:12", "/hello", "feb00e00+200 ");
    check_line("virtio_mmio.device=4K@0xd0000000:5 --verbose /x", "--verbose /x", "d0000000+1000 ");
    check_line("--verbose virtio_mmio.device=4K@0xd0001000:6:3 /x", "--verbose /x",
               "d0001000+1000 ");
    check_line("virtio_mmio.device=512@0x1000:1 virtio_mmio.device=512@0x2000:2", "",
               "1000+200 2000+200 ");
    check_line("a virtio_mmio.device=512@4096:1 virtio_mmio.device=512@8192:2 b", "a b",
               "1000+200 2000+200 ");
    // Not items: they stay, for somebody to complain about.
    const char *kept[] = {
        "xvirtio_mmio.device=512@0x1000:1",
        "virtio_mmio.device=",
        "virtio_mmio.device=512",
        "virtio_mmio.device=512@",
        "virtio_mmio.device=512@0x:1",
        "virtio_mmio.device=512@0x1000",
        "virtio_mmio.device=512@0x1000:1x",
        "virtio_mmio.device=512@0x1000:1:",
        "virtio_mmio.device=512@0x1000:1;/b",
        "virtio_mmio.device=1@0x1000:1",
        "virtio_mmio.device=512@0x1000:999",
        "virtio_mmio.device=99999999999999999999999@0x1000:1",
        "virtio_mmio.device=512@0xffffffffffffff00:1",
    };
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        check_line(kept[i], kept[i], "");
}

// --- JSON ---

static void check_escape(const char *text, const char *expected, size_t size) {
    char out[64];
    memset(out, '#', sizeof(out));
    assert(report_escape(out, size, text) == out);
    if (strcmp(out, expected) != 0) {
        fprintf(stderr, "'%s', not '%s'\n", out, expected);
        exit(1);
    }
    assert(out[size] == '#');
}

static void test_escape(void) {
    check_escape("plain /a b", "plain /a b", 32);
    check_escape("\"\\", "\\\"\\\\", 32);
    check_escape("\n\x1b\x7f", "\\u000a\\u001b\\u007f", 32);
    check_escape("g\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "g\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
                 32);
    check_escape("\xff\xc3", "\\udcff\\udcc3", 32);
    check_escape("\xc0\xaf\xed\xa0\x80", "\\udcc0\\udcaf\\udced\\udca0\\udc80", 40);
    check_escape("\xf4\x90\x80\x80", "\\udcf4\\udc90\\udc80\\udc80", 40);
    check_escape("abcdef", "abc", 4);
    check_escape("ab\n", "ab", 8); // an escape is there as a whole or not at all
    check_escape("a\xe2\x82\xac", "a", 4);
    check_escape("x", "", 1);
}

// --- ACPI ---

static void table(u32 at, const char *signature, u32 length) {
    memcpy(memory + at, signature, 4);
    memcpy(memory + at + 4, &length, 4);
}

static void put32(u32 at, u32 value) {
    memcpy(memory + at, &value, 4);
}

static const u8 s5_words[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x06,
                              0x04, 0x0a, 0x05, 0x00, 0x00, 0x00};

static void build_tables(void) {
    memset(memory, 0, sizeof(memory));
    memcpy(memory + 0xf5a00, "RSD PTR ", 8);
    put32(0xf5a00 + 16, 0x20000);
    u8 sum = 0;
    for (int i = 0; i < 20; i++)
        sum += memory[0xf5a00 + i];
    memory[0xf5a08] = -sum;
    table(0x20000, "RSDT", 36 + 8);
    put32(0x20000 + 36, 0x20100);
    put32(0x20000 + 40, 0x20200);
    table(0x20100, "APIC", 100);
    table(0x20200, "FACP", 116);
    put32(0x20200 + 40, 0x21000);
    put32(0x20200 + 48, 0xb2);
    memory[0x20200 + 52] = 0xf1;
    put32(0x20200 + 64, 0x604);
    table(0x21000, "DSDT", 0x400);
    memcpy(memory + 0x21300, s5_words, sizeof(s5_words));
}

static const char *power_off_writes(void) {
    ports[0] = 0;
    pm1_control = 0;
    acpi_power_off();
    return ports;
}

static void test_acpi(void) {
    build_tables();
    assert(!strcmp(power_off_writes(), "b2/1=f1 604/2=3400 ")); // ACPI on, then type 5 and SLP_EN
    boot_rsdp = 0xf5a00;
    assert(!strcmp(power_off_writes(), "b2/1=f1 604/2=3400 "));
    boot_rsdp = 0x123; // wrong: searched for
    assert(!strcmp(power_off_writes(), "b2/1=f1 604/2=3400 "));
    memory[0x21308] = 0x00; // Zero stands for itself
    assert(!strcmp(power_off_writes(), "b2/1=f1 604/2=2000 "));
    memory[0x21300] = 0x09; // not a definition
    assert(!strcmp(power_off_writes(), ""));
    build_tables();
    memory[0xf5a08]++; // bad checksum
    assert(!strcmp(power_off_writes(), ""));

    boot_rsdp = 0xf5a00;
    for (int round = 0; round < 200; round++) { // whatever the tables say, nothing bad happens
        build_tables();
        for (int i = 0; i < 8; i++)
            memory[0x20000 + rand() % 0x1320] = (u8)rand();
        power_off_writes();
    }
}

int main(void) {
    test_partitions();
    test_command_line();
    test_escape();
    test_acpi();
    puts("ok");
}
