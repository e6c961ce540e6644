/*
 * sys.h: system calls and the few library functions of jailkit-init, which is linked without a C library:
 * its start costs a page fault or two instead of a dynamic linker, and nothing in it can allocate or take a lock.
 */
#pragma once

#include <asm/ioctls.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <poll.h>
#include <asm/statfs.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../abi.h"

#if defined(JK_NO_KERNEL) /* tests/fuzz/ */
long sys6(long nr, long a, long b, long c, long d, long e, long f);
#elif defined(__x86_64__)
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f) {
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
}
#else
#error "jailkit knows x86_64 and aarch64"
#endif

/* One spelling for every call: SYS(openat, AT_FDCWD, path, flags). Missing arguments are 0. */
#define SYS_PICK(nr, a, b, c, d, e, f, ...) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(name, ...) SYS_PICK(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static inline size_t text_length(const char *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

static inline void copy_bytes(void *to, const void *from, size_t size) {
    /* volatile: or the compiler turns the loop into a call of memcpy, which is this. */
    volatile unsigned char *t = to;
    const unsigned char *f = from;
    while (size--)
        *t++ = *f++;
}

static inline void close_fd(int fd) {
    if (fd >= 0)
        SYS(close, fd);
}

__attribute__((noreturn)) static inline void leave(int code) {
    for (;;)
        SYS(exit_group, code);
}

/* Write `value` in decimal at `to`, without NUL; returns the end. */
static inline char *put_number(char *to, uint64_t value) {
    char digits[20];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

static inline char *put_text(char *to, const char *text) {
    while (*text)
        *to++ = *text++;
    *to = 0;
    return to;
}
