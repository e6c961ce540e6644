/* run.c: one program as the host holds it: asked for, started, given orders, let go. */
#include "ext.h"

#include <fcntl.h>

static int make_pipe(int *ours, int *theirs, int we_read) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ours = fds[!we_read];
    *theirs = fds[we_read];
    return 0;
}

int jk_submit(struct jk_run *run, int ctl, const char *request, uint64_t size, const int *stdio, int watched,
              const struct jk_joins *joins) {
    int theirs[6] = {-1, -1, -1, -1, -1, -1}, passed[6 + JK_JOINS], pair[2], error = 0, count = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    run->channel = pair[0];
    passed[0] = theirs[4] = pair[1];
    for (int n = 0; n < 3 && !error; n++) {
        if (stdio[n] == JK_PIPE)
            error = make_pipe(&run->stream[n].fd, &theirs[n], n != 0);
        if (stdio[n] != JK_NULL && stdio[n] != JK_SAME)
            passed[count++] = stdio[n] == JK_PIPE ? theirs[n] : stdio[n];
    }
    if (!error && size > JK_INLINE) {
        passed[count++] = theirs[5] = jk_memory_file(request, size);
        error = theirs[5] < 0 ? theirs[5] : 0;
    }
    if (!error && watched) {
        error = make_pipe(&run->exec_pipe, &theirs[3], 1);
        passed[count++] = theirs[3];
    }
    for (int n = 0; joins && n < joins->count; n++)
        passed[count++] = joins->fd[n];
    if (!error)
        error = jk_send(ctl, request, size > JK_INLINE ? sizeof(struct jk_request) : size, passed, count);
    for (int n = 0; n < 6; n++)
        close_fd(&theirs[n]);
    return error;
}

/* Keep a report of the end; 0: it is none. FAILED is said by the program itself before its exec, EXITED by PID 1 after
 * it: the first word counts. */
int jk_keep(struct jk_run *run, const struct jk_report *report) {
    if (report->kind != JK_REPORT_FAILED && report->kind != JK_REPORT_EXITED)
        return 0;
    if (!run->got_report)
        run->report = *report;
    return run->got_report = 1;
}

/* Take one message about a program: a descriptor to keep, or the report of its end. */
static int hear(struct jk_run *run, int timeout_ms) {
    struct jk_report report;
    int fd, heard = jk_receive(run->channel, &report, &fd, timeout_ms);
    int *place = heard != 1 || report.kind != JK_REPORT_STARTED ? &run->file : &run->pidfd;
    if (fd >= 0 && *place < 0 && (report.kind == JK_REPORT_STARTED || report.kind == JK_REPORT_OPENED))
        return *place = fd, heard;
    close_fd(&fd);
    return heard == 1 ? jk_keep(run, &report) : heard;
}

int jk_wait_exec(struct jk_run *run, int timeout_ms) {
    struct pollfd executed = {run->exec_pipe, POLLIN, 0};
    int heard = executed.fd < 0 ? 1 : poll(&executed, 1, timeout_ms);
    if (heard <= 0)
        return heard == 0 ? -EAGAIN : -errno; /* EINTR: let Python look at the signal, and come again */
    close_fd(&run->exec_pipe);
    /* The program's own word, if it failed, is on the channel by now; that of PID 1 may still be on its way. */
    while (heard == 1 && !run->got_report)
        heard = hear(run, run->pidfd < 0 ? timeout_ms : 0);
    return heard == -EAGAIN && run->pidfd >= 0 ? 1 : heard;
}

int jk_take_file(struct jk_run *run, int timeout_ms) {
    int heard = hear(run, timeout_ms);
    return heard == 1 ? run->file >= 0 || run->got_report : heard;
}

int jk_order(const struct jk_run *run, int order) {
    return send(run->channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void jk_close(struct jk_run *run) {
    close_fd(&run->channel);
    close_fd(&run->exec_pipe);
    close_fd(&run->pidfd);
    close_fd(&run->file);
    for (int n = 0; n < 3; n++)
        close_fd(&run->stream[n].fd);
}
