/*
 * main.c: from the exec of jailkit-init to PID 1 at work.
 *
 * The process that the host program starts runs the host phase with the rights of the caller, makes PID 1 as its
 * sibling (CLONE_PARENT: the host program is the parent of both and can wait for both), and ends. PID 1 is not a
 * new program: it keeps the memory descriptor made by the exec in the host's user namespace, so that once it is
 * not dumpable, even the jail's root may not look into it (ptrace(2), "Ptrace access mode checking").
 */
#include "jail.h"

#include <linux/mman.h>

union control { /* beside a message: as many descriptors as one ever has */
    struct cmsghdr head;
    char space[CMSG_SPACE((6 + JK_JOINS) * sizeof(int))];
};

int send_report(int sock, const struct jk_report *report, int passed_fd) {
    union control control = {0};
    struct iovec bytes = {(void *)report, sizeof *report};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (passed_fd >= 0) {
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        copy_bytes(CMSG_DATA(&control.head), &passed_fd, sizeof passed_fd);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof passed_fd);
    }
    return (int)SYS(sendmsg, sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One message, and as many descriptors as there is room for (the rest of `fds` is left alone); as
 * recvmsg(2). A message that was cut, or whose descriptors were, is an error. */
int receive_message(int sock, void *bytes, size_t size, int *fds, int most) {
    union control control;
    struct iovec into = {bytes, size};
    struct msghdr message = {.msg_iov = &into,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_LEN((unsigned)most * sizeof(int))};
    long received = SYS(recvmsg, sock, &message, MSG_CMSG_CLOEXEC);
    if (received > 0 && message.msg_controllen >= sizeof control.head && control.head.cmsg_type == SCM_RIGHTS)
        copy_bytes(fds, CMSG_DATA(&control.head), control.head.cmsg_len - CMSG_LEN(0));
    return received > 0 && (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) ? -EMSGSIZE : (int)received;
}

/* PID 1: wait until the host phase has ended, run the jail phase, serve. */
__attribute__((noreturn)) static void first_process(struct jail *j) {
    const struct jk_plan *plan = j->plan;
    struct jk_report go;
    const uint64_t default_action[4] = {0}; /* the kernel's struct sigaction: SIG_DFL, no flags, no restorer, no mask */
    close_fd(j->gate[1]);
    j->gate[1] = -1;
    if (receive_message(j->gate[0], &go, sizeof go, 0, 0) <= 0) /* the host phase failed and has said so */
        SYS(exit_group, 1);
    SYS(setsid);
    for (int signal = 1; signal <= 64; signal++) /* whatever the host program ignores: Python ignores SIGPIPE */
        SYS(rt_sigaction, signal, default_action, 0, sizeof *default_action);
    if (run_steps(j, JK_PHASE_JAIL, plan->host_steps, plan->host_steps + plan->jail_steps) < 0)
        SYS(exit_group, 1);
    SYS(munmap, plan, plan->size);
    serve(j);
}

static long clone_pid1(uint64_t flags, int cgroup, int *pidfd) {
    struct clone_args args = {.flags = flags | CLONE_PARENT | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd};
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    long pid = SYS(clone3, &args, sizeof args);
    /* The seccomp filters of container engines answer clone3 with ENOSYS, because they cannot look into its
     * arguments, and mean: use clone. No other error is tried again. */
    if (pid == -ENOSYS && cgroup < 0)
        pid = SYS(clone, flags | CLONE_PARENT | CLONE_PIDFD, 0, pidfd, 0, 0);
    return pid;
}

int step_clone(struct jail *j, const long *arg) {
    struct jk_report report = {.kind = JK_REPORT_BORN};
    int pidfd = -1;
    int error = (int)SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, j->gate);
    if (error < 0)
        return error;
    long pid = clone_pid1((uint64_t)arg[0], (int)arg[1], &pidfd);
    if (pid < 0)
        return (int)pid;
    if (pid == 0)
        first_process(j);
    j->pid = report.pid = (int)pid;
    error = send_report(JK_CTL_FD, &report, pidfd);
    return error < 0 ? error : pidfd;
}

/* A new process may stay on the processor of its parent for as long as that is busy. This one has more to do, and is to
 * do it beside PID 1; it ends soon, so the processors that it may use are its own affair. */
static void move_away(void) {
    uint64_t allowed[16] = {0};
    unsigned here = 0;
    long size = SYS(sched_getaffinity, 0, sizeof allowed, allowed);
    if (size <= 0 || SYS(getcpu, &here, 0, 0) < 0 || here >= 64 * 16)
        return;
    allowed[here / 64] &= ~(1ull << here % 64);
    SYS(sched_setaffinity, 0, size, allowed); /* EINVAL: there is no other */
}

int step_release(struct jail *j, const long *arg) {
    j->released = 1;
    int error = send_report(j->gate[1], &(struct jk_report){.kind = JK_REPORT_READY}, -1);
    move_away();
    return error;
}

int step_give(struct jail *j, const long *arg) {
    return send_report(j->gate[1], &(struct jk_report){.kind = JK_REPORT_READY}, (int)arg[0]);
}

int step_take(struct jail *j, const long *arg) {
    struct jk_report gift;
    int fd = -1, received = receive_message(arg[0] ? JK_CTL_FD : j->gate[0], &gift, sizeof gift, &fd, 1);
    return received < 0 ? received : fd >= 0 ? fd : -EPIPE; /* the other side failed, and has said so before */
}

static int load_plan(struct jail *j) {
    struct stat info;
    long error = SYS(fstat, JK_PLAN_FD, &info);
    if (error < 0)
        return (int)error;
    long at = SYS(mmap, 0, info.st_size, PROT_READ, MAP_PRIVATE, JK_PLAN_FD, 0);
    if (at < 0 && at > -4096)
        return (int)at;
    j->plan = (const struct jk_plan *)at;
    return plan_check(j->plan, (uint64_t)info.st_size);
}

int jail_main(int argc, char **argv) {
    static struct jail the_jail, *j = &the_jail;
    struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = JK_PHASE_HOST, .step = -1};
    for (const char *digit = argc > 1 ? argv[1] : ""; *digit >= '0' && *digit <= '9'; digit++)
        j->id_base = j->id_base * 10 + (uint32_t)(*digit - '0');
    for (int n = 0; n < JK_SLOTS; n++)
        j->slot[n] = SLOT_UNUSED;
    j->gate[0] = j->gate[1] = j->kept[0] = j->kept[1] = j->kept[2] = -1;
    SYS(umask, 0); /* the modes of a plan are exact */
    failed.error = -load_plan(j);
    if (failed.error > 0) {
        send_report(JK_CTL_FD, &failed, -1);
        return 1;
    }
    if (run_steps(j, JK_PHASE_HOST, 0, j->plan->host_steps) < 0)
        return 1;
    return j->released || step_release(j, 0) >= 0 ? 0 : 1;
}
