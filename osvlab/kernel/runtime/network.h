// The network's part of booting.
#pragma once

#include "options.h"

// Sets the addresses that the options give, or waits for those that DHCP gives, and says them.
// False: an option is wrong, and that was said.
bool network_prepare(const struct options *options);
