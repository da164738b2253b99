// What the launcher hands to new programs as their environment: see environment.c.
#pragma once

void environment_begin(char **list); // ends with NULL and stays
char **environment_hold(void);       // does not change until it is released
void environment_release(void);
