// From the boot loader's 32-bit world to 64-bit C.
//
// Entered by the PVH boot ABI (xen/include/public/arch-x86/hvm/start_info.h): 32-bit protected
// mode, flat segments, paging and interrupts off, EBX = physical address of hvm_start_info.
// Our own boot sector enters in the same way.
//
// The first page tables map the first GiB of memory three times with one page directory:
// at 0 (where we run now), at 1 GiB (where the kernel is linked) and at LINEAR_BASE.

#define KERNEL_SHIFT 0x40000000
#define PRESENT_WRITABLE 3
#define LARGE_PAGE 0x83

    .section .note.osvlab, "a", @note
    .balign 4
    .long 7, version_end - version_text, 1
    .asciz "osvlab"
    .balign 4
version_text:
    .asciz OSVLAB_VERSION
version_end:
    .balign 4

    .section .bss
    .balign 4096
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_directory:
    .skip 4096
    .globl boot_stack_top
boot_stack:
    .skip 16384
boot_stack_top:

    .section .rodata
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff // 0x08: 64-bit code
    .quad 0x00cf92000000ffff // 0x10: data

    .text
    .code32
    .globl pvh_entry
    .type pvh_entry, @function
pvh_entry:
    cld
    mov $0x200000, %esp // just below the kernel: loaders keep their data below 1 MiB
    call 1f
1:  pop %ebp
#define AT(symbol) (symbol - 1b)(%ebp)

    lea AT(bss_end), %edi // is there memory up to here?
    movl $0x600df00d, -4(%edi)
    cmpl $0x600df00d, -4(%edi)
    je 3f
    lea AT(too_little_memory), %ebp
    jmp *%ebp
3:
    lea AT(bss_start), %edi
    lea AT(bss_end), %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl
    lea AT(boot_stack_top), %esp

    lea AT(boot_directory), %edi
    mov $LARGE_PAGE, %eax
    mov $512, %ecx
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 2b

    lea AT(boot_directory), %eax
    or $PRESENT_WRITABLE, %eax
    lea AT(boot_pdpt), %edi
    mov %eax, (%edi)
    mov %eax, 8(%edi)
    or $PRESENT_WRITABLE, %edi
    lea AT(boot_pml4), %eax
    mov %edi, (%eax)
    mov %edi, 8 * 128(%eax)
    mov %eax, %cr3

    mov %cr4, %eax
    or $0x620, %eax // PAE, OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax // EFER: NXE, LME, SCE
    wrmsr
    mov $0x80010023, %eax // PG, WP, NE, MP, PE
    mov %eax, %cr0

    sub $8, %esp
    movw $23, (%esp)
    lea AT(boot_gdt), %eax
    mov %eax, 2(%esp)
    lgdt (%esp)
    lea AT(entry64), %eax
    push $0x08
    push %eax
    lret

    .code64
entry64:
    lea high(%rip), %rax
    add $KERNEL_SHIFT, %rax
    jmp *%rax
high:
    lea boot_stack_top(%rip), %rsp
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov %ebx, %edi
    xor %ebp, %ebp
    call kernel_start
    ud2
    .section .note.GNU-stack, "", @progbits
