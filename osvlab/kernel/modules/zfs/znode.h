// What znode.c and znode_make.c share.
#pragma once

#include "dataset.h"

#define NANOSECONDS 1000000000u
#define FLAG_EXECUTE_FOR_ALL 0x100

// An entry of a directory: an object, and in the top bits the type of file as in a mode.
#define ENTRY_OBJECT(value) ((value) & (UINT64_MAX >> 16))
#define ENTRY_TYPE(value) ((uint32_t)((value) >> 60))

void node_aces(uint32_t mode, struct acl_entry aces[3]); // the trivial access control list
uint64_t node_flags(uint32_t mode);
