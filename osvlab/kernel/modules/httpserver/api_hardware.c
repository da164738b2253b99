// /hardware: what the machine is.

#include <cpuid.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "proc.h"

void hardware_flags(struct call *call) {
    struct buffer text = {0};
    const char *flags = NULL;
    if (proc_read("/proc/cpuinfo", &text))
        flags = proc_value(text.bytes, "flags");
    struct buffer *out = &call->reply.body;
    json_bytes(out, flags ? flags : "", flags ? strcspn(flags, "\n") : 0);
    buffer_free(&text);
}

void hardware_processors(struct call *call) {
    reply_number(call, sysconf(_SC_NPROCESSORS_ONLN));
}

void hardware_firmware(struct call *call) {
    struct buffer text = {0};
    if (proc_read("/sys/class/dmi/id/bios_vendor", &text) && text.used > 1)
        json_bytes(&call->reply.body, text.bytes, strcspn(text.bytes, "\n"));
    else
        reply_text(call, "Unknown");
    buffer_free(&text);
}

// Hypervisors sign leaf 0x40000000 of CPUID.
void hardware_hypervisor(struct call *call) {
    static const char *const names[][2] = {
        {"KVMKVMKVM", "kvm"},       {"XenVMMXenVMM", "xen"},  {"VMwareVMware", "vmware"},
        {"Microsoft Hv", "hyperv"}, {"VBoxVBoxVBox", "vbox"}, {"TCGTCGTCGTCG", "tcg"},
    };
    unsigned leaf, signature[4] = {0};
    const char *name = "Unknown";
    __cpuid(0x40000000, leaf, signature[0], signature[1], signature[2]);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcmp((const char *)signature, names[i][0]))
            name = names[i][1];
    reply_text(call, name);
}
