// What the boot asks of the drivers.
#pragma once

#include "base.h"

// Takes `virtio_mmio.device=SIZE@ADDRESS:IRQ` items off the command line and remembers them.
void virtio_mmio_take_devices(char *command_line);

// Finds devices on PCI and those given on the command line, and starts their drivers.
void drivers_probe(void);

void report_init(void);
