// Whose code is at an address: the registry of loaded objects that crash reports read.
//
// Invariant: readers take no lock. A slot's `owner` is written last when it is filled and
// first when it is given back; what a used slot points to stays mapped while it is used.
#pragma once

#include "base.h"

#include <elf.h>

struct launch;

struct registered {
    struct launch *volatile owner; // NULL = free
    u64 start, end, base;
    const char *path;
    const Elf64_Sym *symbols;
    const char *strings;
    u64 strings_size; // 0 = unknown (a dynamic string table)
    u64 symbol_count;
    const void *eh_frame_header;
};

#define REGISTERED_OBJECTS 512

struct registry {
    volatile int busy; // writers take turns
    struct registered slots[REGISTERED_OBJECTS];
};

struct registry *registry_own(void); // of this instance: the first instance's is everybody's
void registry_add(struct launch *owner, const struct registered *object);
void registry_remove(struct launch *owner, u64 start); // one object
