/*
 * kernel.c: the system calls of jailkit-init, replaced. Nothing happens to the machine. What init passes is read as
 * far as the kernel would read it, so that AddressSanitizer sees a wrong pointer; descriptors are counted, so that one
 * that nobody closes is seen too; and each call fails when the input says so.
 */
#include "kernel.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct tape tape;
struct message message;
jmp_buf left;
static unsigned char is_open[LAST_FD + 1];
static volatile unsigned char sink;

int open_descriptors(void) {
    int count = 0;
    for (int fd = FIRST_FD; fd <= LAST_FD; fd++)
        count += is_open[fd];
    return count;
}

void close_all(void) {
    memset(is_open, 0, sizeof is_open);
}

static long answer(void) {
    int byte = tape.at < tape.size ? tape.bytes[tape.at++] : 0;
    return byte > 0 && byte < 134 ? -byte : 0;
}

static long new_fd(void) {
    int fd = FIRST_FD;
    while (fd < LAST_FD && is_open[fd])
        fd++;
    is_open[fd] = 1;
    return fd;
}

static void read_bytes(long bytes, uint64_t size) {
    for (uint64_t n = 0; n < size; n++)
        sink = ((const unsigned char *)bytes)[n];
}

static void read_text(long text) {
    read_bytes(text, strlen((const char *)text) + 1);
}

static long give_message(struct msghdr *to) {
    struct cmsghdr *head = to->msg_control;
    size_t room = to->msg_controllen > sizeof *head ? (to->msg_controllen - sizeof *head) / sizeof(int) : 0;
    size_t count = (size_t)message.fds, size = message.size, fits = to->msg_iov->iov_len;
    to->msg_flags = (count > room ? MSG_CTRUNC : 0) | (size > fits ? MSG_TRUNC : 0);
    count = count > room ? room : count;
    memcpy(to->msg_iov->iov_base, message.bytes, size > fits ? fits : size);
    to->msg_controllen = 0;
    if (count > 0) {
        *head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        for (size_t n = 0; n < count; n++)
            ((int *)CMSG_DATA(head))[n] = (int)new_fd();
        to->msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return (long)(size > fits ? fits : size);
}

static long read_file(long to, long size) {
    size_t count = message.file_size < (size_t)size ? message.file_size : (size_t)size;
    memcpy((void *)to, message.file, count);
    return (long)count;
}

static long give_memory(long size) {
    void *at = size > 0 && size < 256 << 20 ? aligned_alloc(4096, ((size_t)size + 4095) & ~4095ul) : 0;
    if (at)
        memset(at, 0, (size_t)size);
    return at ? (long)at : -ENOMEM;
}

static long execute(long candidate, long argv, long envp) {
    read_text(candidate);
    for (const char **text = (const char **)argv; *text; text++)
        read_text((long)*text);
    for (const char **text = (const char **)envp; *text; text++)
        read_text((long)*text);
    longjmp(left, 1);
}

static long describe(long to) {
    struct stat info = {.st_ino = 1, .st_mode = tape.at % 2 ? S_IFDIR : S_IFREG};
    memcpy((void *)to, &info, sizeof info);
    return 0;
}

static long send_out(const struct msghdr *from) {
    read_bytes((long)from->msg_iov->iov_base, from->msg_iov->iov_len);
    read_bytes((long)from->msg_control, from->msg_controllen);
    return (long)from->msg_iov->iov_len;
}

/* Calls that make no descriptor, and what they read or write. */
static long carry_out(long nr, long a, long b, long c) {
    switch (nr) {
    case __NR_write:
        read_bytes(b, (uint64_t)c);
        return c;
    case __NR_mkdirat:
        read_text(b);
        return 0;
    case __NR_symlinkat:
        read_text(c);
        return 0;
    case __NR_fstat:
        return describe(b);
    case __NR_newfstatat:
        read_text(b);
        return describe(c);
    case __NR_setgroups:
        read_bytes(b, (uint64_t)a * sizeof(uint32_t));
        return 0;
    case __NR_prlimit64:
        read_bytes(c, 16);
        return 0;
    case __NR_chdir:
        read_text(a);
        return 0;
    case __NR_sendmsg:
        return send_out((const struct msghdr *)b);
    case __NR_recvmsg:
        return give_message((struct msghdr *)b);
    case __NR_pread64:
        return read_file(b, c);
    case __NR_execve:
        return execute(a, b, c);
    case __NR_clone:
        return 42;
    case __NR_wait4:
        return a;
    default:
        return 0;
    }
}

static long make_descriptor(long nr, long a, long b, long d) {
    switch (nr) {
    case __NR_openat:
    case __NR_openat2:
    case __NR_open_tree:
        read_text(b);
        return new_fd();
    case __NR_fcntl:
    case __NR_dup:
    case __NR_signalfd4:
        return new_fd();
    case __NR_socketpair:
        ((int *)d)[0] = (int)new_fd();
        ((int *)d)[1] = (int)new_fd();
        return 0;
    case __NR_clone3:
        *(int *)((const struct clone_args *)a)->pidfd = (int)new_fd();
        return 42;
    default:
        return -1;
    }
}

long sys6(long nr, long a, long b, long c, long d, long e, long f) {
    (void)e, (void)f;
    if (nr == __NR_exit_group)
        longjmp(left, 1);
    if (nr == __NR_munmap)
        free((void *)a);
    if (nr == __NR_close && a >= FIRST_FD && a <= LAST_FD)
        is_open[a] = 0;
    if (nr == __NR_munmap || nr == __NR_close)
        return 0;
    long error = answer();
    if (error)
        return error;
    if (nr == __NR_mmap)
        return give_memory(b);
    long fd = make_descriptor(nr, a, b, d);
    return fd != -1 ? fd : carry_out(nr, a, b, c);
}

/* A system call that stands in a plan: its arguments are the plan's own affair, so none is looked at. */
long plan_call(long nr, long a, long b, long c, long d, long e, long f) {
    long error = answer();
    (void)nr, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    return error ? error : new_fd();
}

/* A new process has copies of the descriptors, and shares the memory. */
long clone_on(unsigned long flags, void *stack_end, int *pidfd, void (*run)(void *), void *argument) {
    unsigned char before[sizeof is_open];
    jmp_buf outer;
    long error = answer();
    ((volatile char *)stack_end)[-1] = 0;
    if (error)
        return error;
    if (flags & CLONE_PIDFD)
        *pidfd = (int)new_fd();
    memcpy(before, is_open, sizeof before);
    memcpy(outer, left, sizeof outer);
    if (!setjmp(left))
        run(argument);
    memcpy(left, outer, sizeof outer);
    memcpy(is_open, before, sizeof before);
    return 43;
}
