// The handlers of all routes, by family.
#pragma once

#include "call.h"

#define HANDLER(name) void name(struct call *call)

HANDLER(api_batch);
HANDLER(api_stop);
HANDLER(app_finished);
HANDLER(app_start);
HANDLER(doc_list);
HANDLER(doc_one);
HANDLER(env_get);
HANDLER(env_list);
HANDLER(env_set);
HANDLER(env_unset);
HANDLER(file_delete);
HANDLER(file_get);
HANDLER(file_no_path);
HANDLER(file_post);
HANDLER(file_put);
HANDLER(fs_df);
HANDLER(fs_df_one);
HANDLER(hardware_firmware);
HANDLER(hardware_flags);
HANDLER(hardware_hypervisor);
HANDLER(hardware_processors);
HANDLER(network_interface);
HANDLER(network_interfaces);
HANDLER(network_routes);
HANDLER(os_balloon);
HANDLER(os_cmdline);
HANDLER(os_date);
HANDLER(os_dmesg);
HANDLER(os_hostname);
HANDLER(os_memory_free);
HANDLER(os_memory_total);
HANDLER(os_name);
HANDLER(os_poweroff);
HANDLER(os_reboot);
HANDLER(os_set_cmdline);
HANDLER(os_set_hostname);
HANDLER(os_threads);
HANDLER(os_uptime);
HANDLER(os_vendor);
HANDLER(os_version);
HANDLER(trace_buffers);
HANDLER(trace_count);
HANDLER(trace_counts);
HANDLER(trace_counts_drop);
HANDLER(trace_event);
HANDLER(trace_event_set);
HANDLER(trace_sampler);
HANDLER(trace_status);
HANDLER(trace_status_set);
