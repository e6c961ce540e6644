/*
 * start.c: from the host program to jailkit-init, and from a request to the channel of a program.
 *
 * The start is a vfork(2): the child borrows the caller's memory until its exec, so the cost does not grow with that
 * memory, and no lock, allocator or interpreter is touched in between.
 */
#define _GNU_SOURCE
#include "ext.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void child(const char *init, char *const argv[], int ctl, int plan, volatile int *error) {
    char *const no_environment[] = {NULL};
    int spare_ctl = fcntl(ctl, F_DUPFD, JK_PLAN_FD + 1), spare_plan = fcntl(plan, F_DUPFD, JK_PLAN_FD + 1);
    int null = open("/dev/null", O_RDWR);
    if (spare_ctl >= 0 && spare_plan >= 0 && null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 &&
        dup2(null, 2) == 2 && dup2(spare_ctl, JK_CTL_FD) >= 0 && dup2(spare_plan, JK_PLAN_FD) >= 0 &&
        syscall(SYS_close_range, JK_PLAN_FD + 1, ~0u, 0) == 0)
        execve(init, argv, no_environment);
    *error = errno; /* written in the caller's memory, which this child shares */
    _exit(127);
}

int jk_start(const char *init, const char *id_base, int ctl, int plan) {
    char *const argv[] = {"jailkit-init", (char *)id_base, NULL};
    volatile int error = 0;
    sigset_t all, before;
    sigfillset(&all);
    /* No handler of the host program may run in the child, on borrowed memory; the mask is also what PID 1 wants. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0)
        child(init, argv, ctl, plan, &error);
    int failed = pid < 0 ? errno : error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && failed)
        syscall(SYS_wait4, pid, NULL, 0, NULL);
    return failed ? -failed : pid;
}

int jk_receive(int sock, struct jk_report *report, int *passed_fd, int timeout_ms) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec bytes = {report, sizeof *report};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct pollfd ready = {sock, POLLIN, 0};
    *passed_fd = -1;
    int polled = poll(&ready, 1, timeout_ms);
    if (polled <= 0)
        return polled == 0 ? -EAGAIN : -errno;
    ssize_t size = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size <= 0)
        return size == 0 || errno == ECONNRESET ? 0 : -errno;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS)
        memcpy(passed_fd, CMSG_DATA(head), sizeof *passed_fd);
    return size == sizeof *report ? 1 : -EPROTO;
}

static int make_pipe(int fds[2], int ours, int *mine, int *theirs) {
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *mine = fds[ours];
    *theirs = fds[!ours];
    return 0;
}

static int send_request(const struct jk_run *run, const int *fds, int count) {
    char control[CMSG_SPACE(6 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec bytes = {(void *)run->request, run->memory >= 0 ? sizeof(struct jk_request) : run->size};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    return sendmsg(run->ctl, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int jk_submit(struct jk_run *run) {
    int theirs[3], passed[6], pair[2] = {-1, -1}, end[2], error = 0, count = 4, exec_end = -1;
    run->channel = run->exec_pipe = run->ours[0] = run->ours[1] = run->ours[2] = -1;
    memcpy(theirs, run->theirs, sizeof theirs);
    for (int n = 0; n < 3 && !error; n++)
        if (run->theirs[n] == -1)
            error = make_pipe(end, n == 0, &run->ours[n], &theirs[n]);
    if (!error && run->want_exec_pipe)
        error = make_pipe(end, 0, &run->exec_pipe, &exec_end);
    if (!error && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        error = -errno;
    run->channel = pair[0];
    memcpy(passed, (int[]){pair[1], theirs[0], theirs[1], theirs[2] == -2 ? theirs[1] : theirs[2]}, 4 * sizeof(int));
    if (run->memory >= 0)
        passed[count++] = run->memory;
    if (exec_end >= 0)
        passed[count++] = exec_end;
    if (!error)
        error = send_request(run, passed, count);
    for (int n = 0; n < 3; n++) {
        if (run->theirs[n] == -1 && theirs[n] >= 0)
            close(theirs[n]);
        if (error && run->ours[n] >= 0)
            close(run->ours[n]);
    }
    for (int n = 0; n < 2; n++) { /* their ends always, ours after an error */
        int fds[2][2] = {{pair[1], pair[0]}, {exec_end, run->exec_pipe}};
        if (fds[n][0] >= 0)
            close(fds[n][0]);
        if (error && fds[n][1] >= 0)
            close(fds[n][1]);
    }
    return error;
}
