// The environment that programs are started with: on the lab kernel the kernel's own, which the
// programs of its command line get too; elsewhere this process's.
#pragma once

#include <stdbool.h>

char **environment_list(void); // ends with NULL; NULL if there is no memory
void environment_free(char **list);
const char *environment_find(char **list, const char *name);
bool environment_set(const char *name, const char *value);
void environment_unset(const char *name);
