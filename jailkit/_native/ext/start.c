/*
 * start.c: a jail from its start to its end, as its parent process sees it.
 *
 * The start is a vfork(2) that shares the table of descriptors as well: until its exec the child borrows what the
 * caller has, so the cost grows neither with his memory nor with his descriptors, and no lock, allocator or interpreter
 * is touched in between.
 */
#include "ext.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>
#include <sys/wait.h>

struct start {
    const char *init, *number;
    int ctl, plan, error;
};

/* Not for AddressSanitizer: it never returns, and what marks the ends of its variables would stay on its stack. */
__attribute__((no_sanitize("address"))) static int child(void *given) {
    struct start *s = given;
    char *const argv[] = {"jailkit-init", (char *)s->number, NULL}; /* its end is an empty environment */
    /* Until here the table is the caller's own. What he has above is not even copied. */
    int fine = syscall(SYS_close_range, 1 + (s->ctl > s->plan ? s->ctl : s->plan), ~0u, CLOSE_RANGE_UNSHARE) == 0;
    int null = fine ? open("/dev/null", O_RDWR) : -1, spare[] = {null, null, null, s->ctl, s->plan};
    for (int n = 0; fine && n < JK_FDS; n++) /* out of the way of the numbers they are to have */
        fine = (spare[n] = fcntl(spare[n], F_DUPFD, JK_FDS)) >= 0;
    for (int n = 0; fine && n < JK_FDS; n++)
        fine = dup2(spare[n], n) >= 0;
    if (fine && syscall(SYS_close_range, JK_FDS, ~0u, 0) == 0)
        execve(s->init, argv, argv + 2);
    s->error = errno; /* in the caller's memory, which this child shares */
    _exit(127);
}

static int start_init(struct jk_jail *jail, const char *init, uint32_t id_base, int ctl, int plan) {
    char number[16], stack[8192] __attribute__((aligned(16)));
    struct start start = {init, number, ctl, plan, 0};
    sigset_t all, before;
    snprintf(number, sizeof number, "%u", id_base);
    sigfillset(&all);
    /* No handler of the host program may run in the child, on borrowed memory; the mask is also what PID 1 wants. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &start);
    int failed = pid < 0 ? errno : start.error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && failed)
        syscall(SYS_wait4, pid, NULL, 0, NULL);
    else
        jail->starter = pid;
    return -failed;
}

static int lift(int fd) {
    int high = fcntl(fd, F_DUPFD_CLOEXEC, JK_LASTING);
    return high < 0 ? fd : (close(fd), high);
}

/*
 * A slice of host ids that no other jail has. The claim is a name in the abstract socket namespace, bound to the end of
 * the control socket that PID 1 will hold: it lasts exactly as long as PID 1, whatever happens to this process, and
 * leaves nothing behind. Jails in other network namespaces of the host do not see it.
 */
static int64_t claim(int sock, const struct jk_ids *ids) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    for (uint32_t n = 0; n < ids->count; n++) {
        uint32_t slice = (ids->start + n) % ids->count;
        int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "jailkit/ids/%u/%u", ids->first, slice);
        if (bind(sock, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)length) == 0)
            return (int64_t)ids->first + (int64_t)slice * ids->slice;
        if (errno != EADDRINUSE)
            return -errno;
    }
    return ids->count ? -EADDRINUSE : 0;
}

int jk_start(struct jk_jail *jail, const char *init, const char *plan, uint64_t size, const struct jk_ids *ids) {
    int pair[2] = {-1, -1}, file = jk_memory_file(plan, size), error = file < 0 ? file : 0;
    if (!error && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        error = -errno;
    jail->ctl = lift(pair[0]);
    int64_t base = error ? error : claim(pair[1], ids);
    error = base < 0 ? (int)base : start_init(jail, init, (uint32_t)base, pair[1], file);
    close_fd(&pair[1]);
    close_fd(&file);
    if (error)
        close_fd(&jail->ctl);
    return error;
}

int jk_give(const struct jk_jail *jail, const struct jk_joins *gifts, struct jk_run *run, const char *request,
            uint64_t size, const int *stdio) {
    int error = 0;
    for (int n = 0; n < gifts->count && !error; n++)
        error = jk_send(jail->ctl, "", 1, &gifts->fd[n], 1);
    if (run && !error)
        error = jk_submit(run, jail->ctl, request, size, stdio, 0, NULL);
    return error ? shutdown(jail->ctl, SHUT_WR), error : 0; /* then it waits for nothing more */
}

/* Looked at first: where the host program waits for all its children, the pid may be somebody else's by now. */
static void end_child(int *pid) {
    if (*pid > 0 && syscall(SYS_wait4, *pid, NULL, WNOHANG, NULL) == 0) {
        kill(*pid, SIGKILL);
        while (syscall(SYS_wait4, *pid, NULL, 0, NULL) < 0 && errno == EINTR)
            ;
    }
    *pid = -1;
}

int jk_hear(struct jk_jail *jail, struct jk_report *report, int timeout_ms) {
    int fd = -1, heard = jk_receive(jail->ctl, report, &fd, timeout_ms);
    if (heard == 1 && report->kind == JK_REPORT_BORN && jail->pid < 0 && report->pid > 0) {
        /* What will be killed and waited for has to be a child of ours. It is none any more (ECHILD) where the host
         * program ignores SIGCHLD, or waits for all its children, and PID 1 has ended. */
        if (waitid(P_PIDFD, (id_t)fd, NULL, WEXITED | WNOHANG | WNOWAIT) == 0)
            jail->pidfd = lift(fd), fd = -1;
        else if (errno != ECHILD)
            heard = 0;
        jail->pid = report->pid;
    } else if (heard == 1 && report->kind == JK_REPORT_READY)
        end_child(&jail->starter); /* it has nothing more to do, and as a zombie would make each pivot_root longer */
    else if (heard == 1 && report->kind != JK_REPORT_FAILED)
        heard = 0;
    close_fd(&fd);
    return heard;
}

int jk_end(struct jk_jail *jail, int timeout_ms) {
    struct jk_report report;
    int polled = 1, heard = -EINTR;
    shutdown(jail->ctl, SHUT_WR); /* the host phase may wait for a gift */
    /* Without the report of its birth, which is the first, nobody could wait for PID 1. The starter sends it or ends.
     */
    for (int n = 0; n < 1000 && jail->pid < 0 && jail->ctl >= 0 && heard < 0 && heard != -EAGAIN; n++)
        heard = jk_hear(jail, &report, timeout_ms);
    close_fd(&jail->ctl); /* from here on PID 1 ends by itself, and if it cannot, by this: */
    if (jail->pidfd >= 0) {
        struct pollfd dead = {jail->pidfd, POLLIN, 0};
        polled = 0;
        for (int killed = !jail->patient; polled <= 0 && killed < 2; killed++) {
            if (killed)
                syscall(SYS_pidfd_send_signal, jail->pidfd, SIGKILL, NULL, 0);
            while ((polled = poll(&dead, 1, timeout_ms)) < 0 && errno == EINTR)
                ;
        }
        if (polled > 0) /* reaped already, where the host program ignores SIGCHLD or waits for all: no error */
            waitid(P_PIDFD, (id_t)jail->pidfd, NULL, WEXITED);
        close_fd(&jail->pidfd);
    } else
        end_child(&jail->pid); /* its descriptor did not arrive: our own limit */
    end_child(&jail->starter); /* it has ended long ago, unless a file system hangs */
    jail->pid = -1;
    return polled > 0 ? 0 : -ETIMEDOUT;
}
