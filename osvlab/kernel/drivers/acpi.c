// Just enough ACPI to switch the machine off (ACPI specification 6.5, chapters 4.8.3 and 5.2).
//
// The tables are found from the root pointer; the "sleep type" that means off stands in the
// package \_S5_ of the DSDT. That package is all we need from AML, and it always has the same
// few bytes, so it is searched for and decoded by hand: there is no interpreter here.
//
// Invariant: the firmware's tables are read through safe_read, and every length in them is
// checked, because this also runs while the kernel crashes.

#include <string.h>

#include "arch.h"
#include "boot.h"
#include "interrupt.h"
#include "memory.h"
#include "power.h"
#include "print.h"

#define BIOS_AREA 0xe0000UL
#define BIOS_AREA_END 0x100000UL
#define LARGEST_TABLE (1U << 18)

struct root_pointer {
    char signature[8]; // "RSD PTR "
    u8 checksum;
    char oem[6];
    u8 revision;
    u32 rsdt;
} __attribute__((packed));

struct table_header {
    char signature[4];
    u32 length;
    u8 rest[28];
};

struct fadt { // the part up to what we need
    struct table_header header;
    u32 firmware_control, dsdt;
    u8 reserved, profile;
    u16 sci_interrupt;
    u32 smi_command;
    u8 acpi_enable, rest[3];
    u32 pm1a_event, pm1b_event;
    u32 pm1a_control, pm1b_control;
};
_Static_assert(offsetof(struct fadt, pm1a_control) == 64, "ACPI 5.2.9");

#define PM1_ACPI_MODE 1      // SCI_EN
#define PM1_SLEEP (1U << 13) // SLP_EN

static bool read_physical(void *to, u64 physical, size_t size) {
    return physical && safe_read(to, LINEAR_BASE + physical, size);
}

static bool is_root_pointer(u64 physical, struct root_pointer *root) {
    u8 sum = 0;

    if (!read_physical(root, physical, sizeof(*root)) ||
        memcmp(root->signature, "RSD PTR ", 8) != 0)
        return false;
    for (size_t i = 0; i < sizeof(*root); i++)
        sum += ((const u8 *)root)[i];
    return sum == 0;
}

static bool find_root(struct root_pointer *root) {
    if (boot_rsdp && is_root_pointer(boot_rsdp, root))
        return true;
    for (u64 at = BIOS_AREA; at < BIOS_AREA_END; at += 16) {
        if (is_root_pointer(at, root))
            return true;
    }
    return false;
}

static bool find_fadt(struct fadt *fadt) {
    struct root_pointer root;
    struct table_header rsdt;

    if (!find_root(&root) || !read_physical(&rsdt, root.rsdt, sizeof(rsdt)) ||
        rsdt.length > LARGEST_TABLE)
        return false;
    for (u32 at = sizeof(rsdt); at + 4 <= rsdt.length; at += 4) {
        u32 table;
        if (read_physical(&table, root.rsdt + at, sizeof(table)) &&
            read_physical(fadt, table, sizeof(*fadt)) && !memcmp(fadt->header.signature, "FACP", 4))
            return true;
    }
    return false;
}

// Name(_S5_, Package {SLP_TYPa, SLP_TYPb, ...}):
//     08 ['\'] '_S5_' 12 PkgLength NumElements, then 0A xx, or 00 or 01 for themselves.
static bool sleep_type_at(const u8 *aml, u8 *type) {
    const u8 *p = aml + 4;
    bool named = aml[-1] == 0x08 || (aml[-1] == '\\' && aml[-2] == 0x08);

    if (!named || *p++ != 0x12)
        return false;
    p += 1 + (*p >> 6); // the top two bits of PkgLength count its further bytes
    p++;                // NumElements
    if (*p == 0x0a)
        p++;
    else if (*p > 1)
        return false;
    *type = *p & 7;
    return true;
}

static bool find_sleep_type(u64 dsdt, u8 *type) {
    u8 window[18]; // two bytes before the name, and the longest encoding after it
    struct table_header header;

    if (!read_physical(&header, dsdt, sizeof(header)) || header.length > LARGEST_TABLE)
        return false;
    for (u64 at = sizeof(header); at + sizeof(window) <= header.length; at++) {
        if (!read_physical(window, dsdt + at, 6))
            return false;
        if (!memcmp(window + 2, "_S5_", 4) && read_physical(window, dsdt + at, sizeof(window)) &&
            sleep_type_at(window + 2, type))
            return true;
    }
    return false;
}

// The firmware may still own the power hardware; it is asked, by a system management
// interrupt, to hand it over.
static void enter_acpi_mode(const struct fadt *fadt) {
    if ((inw(fadt->pm1a_control) & PM1_ACPI_MODE) || !fadt->smi_command || !fadt->acpi_enable)
        return;
    outb(fadt->smi_command, fadt->acpi_enable);
    for (int i = 0; i < 100000 && !(inw(fadt->pm1a_control) & PM1_ACPI_MODE); i++)
        __asm__ volatile("pause");
}

void acpi_power_off(void) {
    struct fadt fadt;
    u8 type;

    if (!find_fadt(&fadt) || !fadt.pm1a_control || !find_sleep_type(fadt.dsdt, &type)) {
        debug("no ACPI to power off by\n");
        return;
    }
    enter_acpi_mode(&fadt);
    outw(fadt.pm1a_control, PM1_SLEEP | type << 10);
    if (fadt.pm1b_control)
        outw(fadt.pm1b_control, PM1_SLEEP | type << 10);
    for (int i = 0; i < 200000; i++) // it takes effect soon, not at once
        __asm__ volatile("pause");
}
