/*
 * serve.c: PID 1 at work. It starts what the host asks for, passes signals on, reaps, reports; and ends, and the
 * whole jail with it, when the last descriptor of the control socket on the host's side is closed, by whatever.
 */
#include "jail.h"

#include <signal.h>

struct run {
    int pid, channel; /* channel -1: the host has let go of it */
    uint32_t flags;
    int ended;
    uint64_t mark;
    struct jk_report report;
};

enum { CTL = JK_CTL_FD, PROC, SIGNALS };

static struct run runs[JK_RUNS];
static uint32_t run_count;
static union {
    struct jk_request head;
    char bytes[JK_INLINE];
} request;

static void report_failure(int channel, int step, long error) {
    struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = JK_PHASE_PROGRAM, .step = step, .error = (int)-error};
    send_report(channel, &failed, -1);
}

static void forget(struct run *run) {
    close_fd(run->channel);
    *run = runs[--run_count];
}

static void start(const struct passed *fds) {
    struct run *run = &runs[run_count];
    struct jk_report report = {.kind = JK_REPORT_STARTED};
    int pidfd = -1;
    /* A cgroup namespace of its own marks all that this program will ever start (see tree.c). */
    long pid = run_count == JK_RUNS ? -EAGAIN : SYS(unshare, CLONE_NEWCGROUP);
    uint64_t mark = tree_mark(PROC);
    if (pid == 0)
        pid = SYS(clone, SIGCHLD | CLONE_PIDFD, 0, &pidfd, 0, 0);
    if (pid == 0)
        program(&request.head, fds);
    if (pid < 0) {
        report_failure(fds->channel, JK_AT_FORK, pid);
        close_fd(fds->channel);
        return;
    }
    *run = (struct run){.pid = (int)pid, .channel = fds->channel, .flags = request.head.flags, .mark = mark};
    run_count++;
    report.pid = run->pid;
    send_report(run->channel, &report, pidfd);
    close_fd(pidfd);
}

static int request_ok(long size, int fd_count) {
    const struct jk_request *head = &request.head;
    int wanted = 4 + (head->size > JK_INLINE) + !!(head->flags & JK_RUN_EXEC_PIPE);
    long expected = head->size > JK_INLINE ? (long)sizeof *head : (long)head->size;
    return size >= (long)sizeof *head && head->abi == JK_ABI && size == expected && fd_count == wanted &&
           head->group_count <= JK_GROUPS && head->rlimit_count <= JK_RLIMITS;
}

static void take_request(void) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(6 * sizeof(int))];
    } control;
    struct iovec bytes = {&request, sizeof request};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fds[6] = {-1, -1, -1, -1, -1, -1}, count = 0, next = 4;
    long size = SYS(recvmsg, CTL, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size == 0) /* the host closed the jail, or died */
        SYS(exit_group, 0);
    if (size < 0)
        return;
    if (message.msg_controllen >= sizeof control.head && control.head.cmsg_type == SCM_RIGHTS) {
        count = (int)((control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int));
        copy_bytes(fds, CMSG_DATA(&control.head), (size_t)count * sizeof(int));
    }
    if (request_ok(size, count)) {
        struct passed passed = {fds[0], {fds[1], fds[2], fds[3]}, -1, -1};
        passed.memory = request.head.size > JK_INLINE ? fds[next++] : -1;
        passed.exec_pipe = request.head.flags & JK_RUN_EXEC_PIPE ? fds[next] : -1;
        start(&passed);
        fds[0] = -1; /* now the run's */
    } else {
        report_failure(fds[0], JK_AT_REQUEST, -EINVAL);
    }
    for (int n = 0; n < 6; n++)
        close_fd(fds[n]);
}

static void take_order(struct run *run, short events) {
    int32_t order = JK_ORDER_KILL_TREE;
    long size = events & POLLIN ? SYS(recvfrom, run->channel, &order, sizeof order, MSG_DONTWAIT, 0, 0) : 0;
    if (size == -EAGAIN || size == -EINTR)
        return;
    if (size == (long)sizeof order && order != JK_ORDER_KILL_TREE) {
        SYS(kill, run->pid, order);
        return;
    }
    tree_kill(PROC, run->mark);
    if (size == (long)sizeof order)
        return;
    close_fd(run->channel); /* the host let go: a program nobody waits for ends */
    run->channel = -1;
}

static void note_end(int pid, int status, const struct rusage *used) {
    for (struct run *run = runs; run < runs + run_count; run++) {
        if (run->pid != pid || run->ended)
            continue;
        run->ended = 1;
        run->report = (struct jk_report){.kind = JK_REPORT_EXITED,
                                         .pid = pid,
                                         .status = status,
                                         .user_us = (uint64_t)used->ru_utime.tv_sec * 1000000 + (uint64_t)used->ru_utime.tv_usec,
                                         .system_us = (uint64_t)used->ru_stime.tv_sec * 1000000 + (uint64_t)used->ru_stime.tv_usec,
                                         .max_rss_kib = (uint64_t)used->ru_maxrss,
                                         .minor_faults = (uint64_t)used->ru_minflt,
                                         .major_faults = (uint64_t)used->ru_majflt,
                                         .blocks_in = (uint64_t)used->ru_inblock,
                                         .blocks_out = (uint64_t)used->ru_oublock,
                                         .switches = (uint64_t)used->ru_nvcsw,
                                         .preemptions = (uint64_t)used->ru_nivcsw};
    }
}

static void reap(void) {
    struct signalfd_siginfo ignored;
    struct rusage used;
    int status;
    long pid;
    SYS(read, SIGNALS, &ignored, sizeof ignored);
    while ((pid = SYS(wait4, -1, &status, WNOHANG | __WALL, &used)) > 0)
        note_end((int)pid, status, &used);
    for (uint32_t n = run_count; n-- > 0;) {
        struct run *run = &runs[n];
        if (!run->ended)
            continue;
        /* Orphans are our children by now, so with no child left (ECHILD) there is nothing to look for. */
        if (!(run->flags & JK_RUN_DETACH) && pid != -ECHILD)
            tree_kill(PROC, run->mark);
        send_report(run->channel, &run->report, -1);
        if (run->flags & JK_RUN_ALONE)
            SYS(exit_group, 0);
        forget(run);
    }
}

/* Descriptors 3, 4 and 5, and nothing else: what a plan had open is closed before the first program. */
static int settle(const struct jail *j) {
    uint64_t child_ended = 1ull << (SIGCHLD - 1);
    long error = SYS(dup3, j->proc, PROC, O_CLOEXEC);
    if (error >= 0)
        error = SYS(close_range, SIGNALS, ~0u, 0);
    if (error >= 0)
        error = SYS(signalfd4, -1, &child_ended, sizeof child_ended, SFD_CLOEXEC | SFD_NONBLOCK);
    return error == SIGNALS ? 0 : error < 0 ? (int)error : -EBADF;
}

void serve(const struct jail *j) {
    static struct pollfd polled[JK_RUNS + 2];
    struct jk_report report = {.kind = JK_REPORT_READY};
    int error = settle(j);
    if (error < 0) {
        report = (struct jk_report){.kind = JK_REPORT_FAILED, .phase = JK_PHASE_JAIL, .step = -1, .error = -error};
        send_report(CTL, &report, -1);
        SYS(exit_group, 1);
    }
    send_report(CTL, &report, -1);
    for (;;) {
        uint32_t count = run_count;
        polled[0] = (struct pollfd){CTL, POLLIN, 0};
        polled[1] = (struct pollfd){SIGNALS, POLLIN, 0};
        for (uint32_t n = 0; n < count; n++)
            polled[2 + n] = (struct pollfd){runs[n].channel, POLLIN, 0};
        if (SYS(ppoll, polled, count + 2, 0, 0, 0) < 0)
            continue;
        for (uint32_t n = 0; n < count; n++) /* before reap(), which moves the runs about */
            if (polled[2 + n].revents)
                take_order(&runs[n], polled[2 + n].revents);
        if (polled[1].revents)
            reap();
        if (polled[0].revents)
            take_request();
    }
}
