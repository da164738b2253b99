// /proc, as far as programs ask for it (proc(5)).

#include "pseudo.h"

#include <sys/utsname.h>

#include "area.h"
#include "block.h"
#include "boot.h"
#include "counts.h"
#include "procfs.h"
#include "syscalls.h"

#define FILE (S_IFREG | 0444)
#define DIRECTORY (S_IFDIR | 0555)
#define LINK (S_IFLNK | 0777)

static void write_self(struct text *text, int pid) {
    (void)pid;
    text_add(text, "%d", proc_current_pid());
}

static void write_self_mounts(struct text *text, int pid) {
    (void)pid;
    text_add(text, "self/mounts");
}

static void write_meminfo(struct text *text, int pid) {
    struct memory_statistics m;
    (void)pid;
    memory_statistics(&m);
    text_add(text,
             "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
             "Buffers:        %8u kB\nCached:         %8lu kB\nSwapCached:     %8u kB\n"
             "SwapTotal:      %8u kB\nSwapFree:       %8u kB\nShmem:          %8u kB\nSlab:        "
             "   %8lu kB\n",
             m.total / 1024, m.free / 1024, (m.free + m.cache) / 1024, 0U, m.cache / 1024, 0U, 0U,
             0U, 0U, m.heap / 1024);
}

static void cpuid(u32 leaf, u32 out[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(0));
}

static const char *const feature_names[2][32] = {
    {"fpu",  "vme",  "de",   "pse", "tsc",  "msr", "pae",   "mce", "cx8",     "apic", NULL,
     "sep",  "mtrr", "pge",  "mca", "cmov", "pat", "pse36", "pn",  "clflush", NULL,   "dts",
     "acpi", "mmx",  "fxsr", "sse", "sse2", "ss",  "ht",    "tm",  "ia64",    "pbe"},
    {"pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
     "vmx",    "smx",       "est",    "tm2",     "ssse3",
     "cid",    "sdbg",      "fma",    "cx16",    "xtpr",
     "pdcm",   NULL,        "pcid",   "dca",     "sse4_1",
     "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
     "aes",    "xsave",     NULL,     "avx",     "f16c",
     "rdrand", "hypervisor"},
};

static void write_cpuinfo(struct text *text, int pid) {
    u32 leaf[4], brand[13] = {0}, vendor[4] = {0};
    (void)pid;
    cpuid(0, leaf);
    vendor[0] = leaf[1], vendor[1] = leaf[3], vendor[2] = leaf[2];
    for (u32 i = 0; i < 3; i++)
        cpuid(0x80000002 + i, brand + 4 * i);
    cpuid(1, leaf);
    u32 family = leaf[0] >> 8 & 15, model = leaf[0] >> 4 & 15;
    if (family == 15)
        family += leaf[0] >> 20 & 255;
    if (family >= 6)
        model += (leaf[0] >> 16 & 15) << 4;
    text_add(text,
             "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: "
             "%s\nstepping\t: %u\n",
             (char *)vendor, family, model, (char *)brand, leaf[0] & 15);
    text_add(text, "cpu cores\t: 1\nsiblings\t: 1\nfpu\t\t: yes\nflags\t\t:");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 32; i++)
            if (leaf[3 - k] >> i & 1 && feature_names[k][i] != NULL)
                text_add(text, " %s", feature_names[k][i]);
    text_add(text, "\nclflush size\t: %u\ncache_alignment\t: 64\n\n", (leaf[1] >> 8 & 255) * 8);
}

static void write_uptime(struct text *text, int pid) {
    u64 hundredths = clock_monotonic() / (SECOND / 100);
    (void)pid;
    text_add(text, "%lu.%02lu 0.00\n", hundredths / 100, hundredths % 100);
}

static void write_version(struct text *text, int pid) {
    struct utsname name = {0};
    (void)pid;
    sys_uname(&name);
    text_add(text, "%s version %s (%s) %s\n", name.sysname, name.release, name.nodename,
             name.version);
}

static void write_stat(struct text *text, int pid) {
    u64 ticks = clock_monotonic() / (SECOND / 100);
    int pids[64];
    (void)pid;
    text_add(text,
             "cpu  %lu 0 0 0 0 0 0 0 0 0\ncpu0 %lu 0 0 0 0 0 0 0 0 0\nintr %lu\nctxt %lu\nbtime "
             "%lu\n",
             ticks, ticks, interrupt_count(), switch_count(),
             (clock_realtime() - clock_monotonic()) / SECOND);
    text_add(text, "processes %zu\nprocs_running 1\nprocs_blocked 0\n",
             process_pids(pids, ARRAY_SIZE(pids)));
}

static void write_vmstat(struct text *text, int pid) {
    (void)pid;
    text_add(text, "pgfault %lu\n", fault_count());
}

static void write_loadavg(struct text *text, int pid) {
    (void)pid;
    text_add(text, "0.00 0.00 0.00 1/1 %d\n", proc_current_pid());
}

static void write_filesystems(struct text *text, int pid) {
    (void)pid;
    const struct filesystem *filesystem;
    for (size_t i = 0; (filesystem = filesystem_each(i)) != NULL; i++)
        text_add(text, "%s\t%s\n", filesystem->needs_device ? "" : "nodev", filesystem->name);
}

static void write_cmdline(struct text *text, int pid) {
    (void)pid;
    text_add(text, "%s\n", boot_command_line);
}

static void write_partition(struct block_device *device, void *argument) {
    u64 number = block_number(device);
    text_add(argument, "%4u %8u %10lu %s\n", major(number), minor(number), device->sectors / 2,
             device->name);
}

static void write_partitions(struct text *text, int pid) {
    (void)pid;
    text_add(text, "major minor  #blocks  name\n\n");
    block_each(write_partition, text);
}

static void write_hostname(struct text *text, int pid) {
    struct utsname name = {0};
    (void)pid;
    sys_uname(&name);
    text_add(text, "%s\n", name.nodename);
}

static void write_osrelease(struct text *text, int pid) {
    struct utsname name = {0};
    (void)pid;
    sys_uname(&name);
    text_add(text, "%s\n", name.release);
}

static void write_ostype(struct text *text, int pid) {
    (void)pid;
    text_add(text, "Linux\n");
}

static void write_pid_max(struct text *text, int pid) {
    (void)pid;
    text_add(text, "32768\n");
}

static void write_zero(struct text *text, int pid) {
    (void)pid;
    text_add(text, "0\n");
}

static void write_uuid(struct text *text, int pid) {
    u8 b[16];
    (void)pid;
    random_bytes(b, sizeof(b));
    b[6] = (b[6] & 15) | 64;
    b[8] = (b[8] & 63) | 128;
    for (int i = 0; i < 16; i++)
        text_add(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
    text_add(text, "\n");
}

// Parents come before their children; the numbers are places in this table.
enum { ROOT, SYS, KERNEL, RANDOM, VM, NET, PROCESS, DESCRIPTORS, THREADS, THREAD };

static const struct pseudo_entry entries[] = {
    [ROOT] = {"", 0, DIRECTORY, NULL},
    [SYS] = {"sys", ROOT, DIRECTORY, NULL},
    [KERNEL] = {"kernel", SYS, DIRECTORY, NULL},
    [RANDOM] = {"random", KERNEL, DIRECTORY, NULL},
    [VM] = {"vm", SYS, DIRECTORY, NULL},
    [NET] = {"net", ROOT, DIRECTORY, NULL},
    [PROCESS] = {"PID", ROOT, DIRECTORY, NULL},
    [DESCRIPTORS] = {"fd", PROCESS, DIRECTORY, NULL},
    [THREADS] = {"task", PROCESS, DIRECTORY, NULL},
    [THREAD] = {"TID", THREADS, DIRECTORY, NULL},
    {"stat", THREAD, FILE, proc_write_thread_stat},
    {"status", THREAD, FILE, proc_write_thread_status},
    {"comm", THREAD, FILE, proc_write_thread_comm},
    {"self", ROOT, LINK, write_self},
    {"mounts", ROOT, LINK, write_self_mounts},
    {"meminfo", ROOT, FILE, write_meminfo},
    {"cpuinfo", ROOT, FILE, write_cpuinfo},
    {"uptime", ROOT, FILE, write_uptime},
    {"version", ROOT, FILE, write_version},
    {"stat", ROOT, FILE, write_stat},
    {"vmstat", ROOT, FILE, write_vmstat},
    {"loadavg", ROOT, FILE, write_loadavg},
    {"filesystems", ROOT, FILE, write_filesystems},
    {"cmdline", ROOT, FILE, write_cmdline},
    {"partitions", ROOT, FILE, write_partitions},
    {"hostname", KERNEL, FILE, write_hostname},
    {"osrelease", KERNEL, FILE, write_osrelease},
    {"ostype", KERNEL, FILE, write_ostype},
    {"pid_max", KERNEL, FILE, write_pid_max},
    {"uuid", RANDOM, FILE, write_uuid},
    {"overcommit_memory", VM, FILE, write_zero},
    {"arp", NET, FILE, proc_write_net_arp},
    {"dev", NET, FILE, proc_write_net_dev},
    {"pnp", NET, FILE, proc_write_net_pnp},
    {"route", NET, FILE, proc_write_net_route},
    {"sockstat", NET, FILE, proc_write_net_sockstat},
    {"tcp", NET, FILE, proc_write_net_tcp},
    {"tcp6", NET, FILE, proc_write_net_six},
    {"udp", NET, FILE, proc_write_net_udp},
    {"udp6", NET, FILE, proc_write_net_six},
    {"unix", NET, FILE, proc_write_net_unix},
    {"maps", PROCESS, FILE, proc_write_maps},
    {"stat", PROCESS, FILE, proc_write_stat},
    {"statm", PROCESS, FILE, proc_write_statm},
    {"status", PROCESS, FILE, proc_write_status},
    {"cmdline", PROCESS, FILE, proc_write_cmdline},
    {"comm", PROCESS, FILE, proc_write_comm},
    {"mounts", PROCESS, FILE, proc_write_mounts},
    {"exe", PROCESS, LINK, proc_write_exe},
    {"cwd", PROCESS, LINK, proc_write_cwd},
    {"root", PROCESS, LINK, proc_write_root},
};

static const struct pseudo_tree tree = {.entries = entries,
                                        .count = ARRAY_SIZE(entries),
                                        .process = PROCESS,
                                        .descriptors = DESCRIPTORS,
                                        .threads = THREADS,
                                        .thread = THREAD};

static int procfs_mount(struct mount *mount, struct block_device *device) {
    (void)device;
    return pseudo_mount(mount, &tree);
}

const struct filesystem procfs = {.name = "procfs", .magic = 0x9fa0, .mount = procfs_mount};
