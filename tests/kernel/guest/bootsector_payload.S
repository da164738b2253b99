# A kernel for the boot sector's test: says on COM1 what it was given, as lines of hexadecimal
# numbers, and ends the machine.
#     magic version / the command line / one line per memory map entry / sum of all bytes of itself
.code32
    .ascii "\177ELF"
.org 0x100
entry:
    mov $0x90000, %esp
    mov (%ebx), %eax
    call number
    mov 4(%ebx), %eax
    call number
    call line
    mov 24(%ebx), %esi
1:  lodsb
    test %al, %al
    jz 2f
    call letter
    jmp 1b
2:  call line
    mov 48(%ebx), %ebp
    mov 40(%ebx), %esi
3:  mov $6, %ecx
4:  lodsl
    call number
    loop 4b
    call line
    dec %ebp
    jnz 3b
    mov 0x200ff8, %ecx
    mov $0x200000, %esi
    xor %ebx, %ebx
5:  lodsb
    movzbl %al, %eax
    add %eax, %ebx
    loop 5b
    mov %ebx, %eax
    call number
    call line
    mov $0xf4, %edx
    out %al, %dx
    hlt

line:
    mov $'\n', %al
letter:
    push %edx
    push %eax
    mov $0x3fd, %edx
6:  inb %dx, %al
    test $0x20, %al
    jz 6b
    pop %eax
    mov $0x3f8, %edx
    outb %al, %dx
    pop %edx
    ret

number:
    pusha
    mov %eax, %ebx
    mov $8, %ecx
7:  rol $4, %ebx
    mov %ebx, %eax
    and $15, %eax
    mov digits - entry + 0x200100(%eax), %al
    call letter
    loop 7b
    mov $' ', %al
    call letter
    popa
    ret
digits:
    .ascii "0123456789abcdef"

.org 0xff0
    .long 0x200100          # the physical entry point, where the boot sector looks for it
    .long 0
    .long 0                 # 0xff8: size of this file, patched by the test
.org 0x1000
