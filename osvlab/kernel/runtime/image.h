// The kernel's own ELF image, seen as what it is for applications: their libc.so.
//
// Every application gets a private instance of it: the same code and constants a second time
// at another address, with libc data of its own. So a variable such as `optind`, malloc's heap,
// stdio's locks and the list of threads belong to one application, as they do on Linux, and
// what one program breaks or forgets is gone with it.
#pragma once

#include "base.h"

#include <elf.h>

// From kernel.ld. Hidden, so that code reaches them relative to itself: they are always the
// running instance's own.
#pragma GCC visibility push(hidden)
extern char kernel_start_address[], core_text_end[], text_start[], text_end[];
extern char code_constants_end[], data_start[], data_end[], bss_end[], kernel_end_address[];
extern const Elf64_Dyn _DYNAMIC[];
extern const u64 _GLOBAL_OFFSET_TABLE_[];

// What the image's dynamic section says. An instance gets no copies of these tables, so only the
// first instance's own names for them mean something; from elsewhere, take off the distance.
extern const u32 image_gnu_hash[];
extern const Elf64_Sym image_symbols[];
extern const char image_strings[];
extern const Elf64_Rela image_relocations[], image_relocations_end[];
extern const u64 image_relative[], image_relative_end[];
#pragma GCC visibility pop

u64 image_bias(void); // of the running instance: its address less its link address

// Adjusts the data of the instance that lies `shift` bytes from this one: `image_move` adds `by`
// to the addresses in it, `image_bind` fills in what refers to the image's symbols.
void image_move(u64 by, u64 shift);
const char *image_bind(u64 shift);

// Keeps a copy of libc's data as it is before anything ran. Called once, first.
void image_keep_data(void);

// Makes an instance. Gives its distance from the running one in *shift; NULL or an error text.
const char *image_instantiate(u64 *shift);
void image_release(u64 shift);
void image_own(u64 shift, bool mine); // it goes with the calling process, or with none

// The counterpart of `own` (something in this instance) in the instance at `shift`.
#define IN_INSTANCE(own, shift) ((__typeof__(&*(own)))((u64)(own) + (shift)))
