// All routes (OSv's: modules/httpserver-api/api-doc/listings). Requests are served from this table
// and /api-doc is written from it, so what is documented is what there is.

#include "api.h"
#include "router.h"

#define NONE ""

const struct route routes[] = {
    {POST, "/api/batch", "batch:string", "array",
     "Runs requests, given as [{method, relative_url}]", api_batch, BODY_FIELD},
    {POST, "/api/stop", NONE, "string", "Stops this server", api_stop, 0},

    {PUT, "/app", "command*:string new_program:boolean", "string",
     "Starts a command; gives the ids of its main threads", app_start, 0},
    {GET, "/app/finished", "tid*:long", "string", "Whether no thread has that id any more: 1 or 0",
     app_finished, 0},

    {GET, "/env", NONE, "array", "All variables of the environment", env_list, 0},
    {GET, "/env/{var}", NONE, "string", "The value of a variable", env_get, 0},
    {POST, "/env/{var}", "val*:string", "string",
     "Sets a variable, for programs started from now on", env_set, 0},
    {DELETE, "/env/{var}", NONE, "string", "Removes a variable", env_unset, 0},

    {GET, "/file", NONE, "string", "Needs a path", file_no_path, 0},
    {GET, "/file/{path}", "op*:string offset:long length:long", "file",
     "GET: contents; LISTSTATUS: a directory, or what * and ? match; GETFILESTATUS: one status",
     file_get, 0},
    {PUT, "/file/{path}",
     "op*:string permission:string destination:string createParent:boolean overwrite:boolean "
     "content:string",
     "string", "MKDIRS, RENAME, COPY or WRITE", file_put, 0},
    {POST, "/file/{path}", NONE, "string", "Stores the body, or the file in a multipart body",
     file_post, BODY_UPLOAD},
    {DELETE, "/file/{path}", "op*:string recursive:boolean", "string", "DELETE", file_delete, 0},

    {GET, "/fs/df", NONE, "array", "Room on all filesystems", fs_df, 0},
    {GET, "/fs/df/{mount}", NONE, "array", "Room on one filesystem", fs_df_one, 0},

    {GET, "/hardware/processor/flags", NONE, "string", "What the processor can do", hardware_flags,
     0},
    {GET, "/hardware/processor/count", NONE, "long", "Number of processors", hardware_processors,
     0},
    {GET, "/hardware/firmware/vendor", NONE, "string", "Who made the firmware", hardware_firmware,
     0},
    {GET, "/hardware/hypervisor", NONE, "string", "Name of the hypervisor", hardware_hypervisor, 0},

    {GET, "/network/ifconfig", NONE, "array", "All network interfaces", network_interfaces, 0},
    {GET, "/network/ifconfig/{intf}", NONE, "Interface", "One network interface", network_interface,
     0},
    {GET, "/network/route", NONE, "array", "The routing table", network_routes, 0},

    {GET, "/os/name", NONE, "string", "Name of the operating system", os_name, 0},
    {GET, "/os/vendor", NONE, "string", "Who makes it", os_vendor, 0},
    {GET, "/os/version", NONE, "string", "Its version", os_version, 0},
    {GET, "/os/uptime", NONE, "long", "Seconds since the boot", os_uptime, 0},
    {GET, "/os/date", NONE, "string", "Date and time", os_date, 0},
    {GET, "/os/memory/total", NONE, "long", "Bytes of memory", os_memory_total, 0},
    {GET, "/os/memory/free", NONE, "long", "Bytes of memory that are free", os_memory_free, 0},
    {GET, "/os/memory/balloon", NONE, "long", "Bytes in the balloon", os_balloon, 0},
    {GET, "/os/dmesg", NONE, "string", "The kernel's messages", os_dmesg, 0},
    {GET, "/os/hostname", NONE, "string", "The host's name", os_hostname, 0},
    {POST, "/os/hostname", "name*:string", "string", "Sets the host's name", os_set_hostname, 0},
    {GET, "/os/threads", NONE, "Threads", "All threads", os_threads, 0},
    {GET, "/os/cmdline", NONE, "string", "The kernel's command line", os_cmdline, 0},
    {POST, "/os/cmdline", "cmdline*:string", "string",
     "Writes the command line of the next boot from the disk", os_set_cmdline, 0},
    {POST, "/os/poweroff", NONE, "void", "Turns the machine off", os_poweroff, 0},
    {POST, "/os/shutdown", NONE, "void", "Turns the machine off", os_poweroff, 0},
    {POST, "/os/reboot", NONE, "void", "Starts the machine again", os_reboot, 0},

    {GET, "/trace/status", "match:string", "array", "Events whose names match", trace_status, 0},
    {POST, "/trace/status", "match:string enabled*:boolean backtrace:boolean", "array",
     "Turns events on or off; gives what they were before", trace_status_set, 0},
    {GET, "/trace/event/{eventid}", NONE, "TraceEventInfo", "One event", trace_event, 0},
    {POST, "/trace/event/{eventid}", "enabled*:boolean backtrace:boolean", "TraceEventInfo",
     "Turns one event on or off", trace_event_set, 0},
    {GET, "/trace/count", NONE, "TraceCounts", "All counters", trace_counts, 0},
    {DELETE, "/trace/count", NONE, "void", "Drops all counters", trace_counts_drop, 0},
    {POST, "/trace/count/{eventid}", "enabled*:boolean", "void", "Begins or ends to count an event",
     trace_count, 0},
    {POST, "/trace/sampler", "freq*:long", "string", "The sampling profiler", trace_sampler, 0},
    {GET, "/trace/buffers", NONE, "file", "Recorded events", trace_buffers, 0},

    {GET, "/api-doc", NONE, "array", "What there is (Swagger 1.2)", doc_list, 0},
    {GET, "/api-doc/{name}", NONE, "array", "The routes of one family", doc_one, 0},
};
const size_t route_count = sizeof(routes) / sizeof(routes[0]);
