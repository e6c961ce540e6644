/*
 * stack.c: a process on a stack of its own in the memory of PID 1.
 *
 * A copy of that memory (fork) costs more than everything else PID 1 does for a program. Suspending PID 1 until the
 * exec (vfork) is out of the question: a program of the same user could stop the child in between, and with it PID 1.
 */
#include "jail.h"

/* long clone_on(unsigned long flags, void *stack_end, int *pidfd, void (*run)(void *), void *argument) */
#if defined(__x86_64__)
__asm__(".text\n.globl clone_on\n.type clone_on,@function\nclone_on:\n"
        " sub $16,%rsi\n mov %rcx,(%rsi)\n mov %r8,8(%rsi)\n"
        " xor %r10d,%r10d\n xor %r8d,%r8d\n mov $56,%eax\n syscall\n"
        " test %rax,%rax\n jnz 1f\n"
        " xor %ebp,%ebp\n pop %rax\n pop %rdi\n call *%rax\n hlt\n"
        "1: ret\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl clone_on\n.type clone_on,%function\nclone_on:\n"
        " stp x3,x4,[x1,#-16]!\n mov x3,#0\n mov x4,#0\n mov x8,#220\n svc 0\n"
        " cbnz x0,1f\n"
        " ldp x3,x0,[sp],#16\n mov x29,#0\n blr x3\n brk #0\n"
        "1: ret\n");
#endif
