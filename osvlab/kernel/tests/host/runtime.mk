# Builds the runtime as a Linux program, $(O)/host-runtime, with the kernel's own flags and
# linker script. Run from osvlab/kernel: make -f tests/host/runtime.mk O=directory
include Makefile

HOST_OBJECTS := $(RUNTIME_OBJECTS) $(O)/runtime/tests/host/runtime_host.o

$(O)/runtime/tests/host/runtime_host.o: RUNTIME_FLAGS += -Iruntime

$(O)/host-runtime: $(HOST_OBJECTS) $(O)/libc.a kernel.ld
	$(LINK) -Wl,-e,host_start,--defsym,pvh_entry=0x40201000 -o $@ $(HOST_OBJECTS) $(LIBRARIES)
