// The event loop: accepts connections and gives each its turn.
#pragma once

#include <stdbool.h>

// Listens where the settings say. The socket, or -1 with *error set to what could not be done.
int loop_listen(int *port, const char **error);
void loop_run(int listener); // until loop_stop
void loop_stop(void);
void loop_unwatch(int descriptor); // before it is closed
