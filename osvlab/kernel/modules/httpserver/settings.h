// What the command line says.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct settings {
    const char *address;
    int port;
    const char *access_allow; // origins with commas between, or "*"; "": none
    const char *token;        // NULL: nobody is asked for one
    uint64_t body_limit;      // bytes
    int timeout;              // seconds without progress in the middle of something
    int idle_timeout;         // seconds between two requests of a connection
};
extern struct settings settings;

// False: not to be started; *status is then what main returns.
bool settings_parse(int argc, char **argv, int *status);
