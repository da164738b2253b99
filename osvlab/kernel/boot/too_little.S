// Last words of a kernel that does not even fit into the machine's memory.
//
// Still 32-bit code without a stack of its own: it says on the console and to the host how much
// memory there is and how much the kernel takes, and ends the machine.

#define CONSOLE 0x3f8
#define REPORT 0xe9
#define DEBUG_EXIT 0xf4
#define CRASHED 0x7e

#define RAM_TYPE 1
#define MAP 40          // hvm_start_info.memmap_paddr
#define MAP_ENTRIES 48
#define ENTRY_SIZE 24   // hvm_memmap_table_entry: address, size, type
#define KERNEL_PHYSICAL 0x200000

    .text
    .code32

// EBX = start info, EBP = where `too_little_memory` itself lies.
    .globl too_little_memory
    .type too_little_memory, @function
too_little_memory:
#define AT(symbol) (symbol - too_little_memory)(%ebp)
    mov $REPORT, %edx
    lea AT(report_begin), %esi
    call say
    call say_fault
    lea AT(report_end), %esi
    call say
    mov $CONSOLE, %edx
    call say_fault
    lea AT(line_end), %esi
    call say
    mov $DEBUG_EXIT, %edx
    mov $CRASHED, %eax
    out %eax, %dx
1:  hlt
    jmp 1b

say_fault:
    lea AT(has), %esi
    call say
    call memory_size
    shr $10, %eax
    call say_number
    lea AT(needs), %esi
    call say
    lea AT(bss_end), %eax
    shr $10, %eax
    call say_number
    lea AT(kib), %esi
    // falls through

// The text at ESI, to port DX.
say:
    lodsb
    test %al, %al
    jz 1f
    out %al, %dx
    jmp say
1:  ret

// EAX in decimal.
say_number:
    mov $10, %ecx
    push $0
1:  push %edx
    xor %edx, %edx
    div %ecx
    add $'0', %edx
    mov %edx, %edi
    pop %edx
    push %edi
    test %eax, %eax
    jnz 1b
2:  pop %eax
    test %eax, %eax
    jz 3f
    out %al, %dx
    jmp 2b
3:  ret

// EAX = where the RAM that the kernel was loaded to ends.
memory_size:
    mov MAP(%ebx), %edi
    mov MAP_ENTRIES(%ebx), %ecx
1:  mov (%edi), %eax
    cmpl $RAM_TYPE, 16(%edi)
    jne 2f
    cmp $KERNEL_PHYSICAL, %eax
    ja 2f
    add 8(%edi), %eax
    cmp $KERNEL_PHYSICAL, %eax
    ja 3f
2:  add $ENTRY_SIZE, %edi
    loop 1b
    xor %eax, %eax
3:  ret

    .section .rodata
report_begin:
    .asciz "{\"event\":\"crashed\",\"thread\":\"boot\",\"fault\":\""
report_end:
    .asciz "\",\"registers\":{},\"backtrace\":[]}\n"
has:
    .asciz "not enough memory: the machine has "
needs:
    .asciz " KiB, the kernel alone takes up to "
kib:
    .asciz " KiB; give it a few MiB more"
line_end:
    .asciz "\r\n"
    .section .note.GNU-stack, "", @progbits
