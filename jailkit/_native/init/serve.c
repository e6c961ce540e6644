/*
 * serve.c: PID 1 at work. It starts what the host asks for, passes signals on, reaps, reports; and ends, and the
 * whole jail with it, when the last descriptor of the control socket on the host's side is closed, by whatever.
 */
#include "serve.h"

#include <signal.h>

static struct run runs[JK_RUNS];
static uint32_t run_count;
int filtered;
struct stat own_file;

static void take_order(struct run *run, short events) {
    int32_t order = JK_ORDER_KILL_TREE;
    long size = events & POLLIN ? SYS(recvfrom, run->channel, &order, sizeof order, MSG_DONTWAIT, 0, 0) : 0;
    if (size == -EAGAIN || size == -EINTR)
        return;
    if (size == (long)sizeof order && order != JK_ORDER_KILL_TREE) {
        SYS(kill, run->pid, order);
        return;
    }
    SYS(kill, run->pid, SIGKILL);
    end_tree(run);
    if (size == (long)sizeof order)
        return;
    close_fd(run->channel); /* the host let go: a program nobody waits for ends */
    run->channel = -1;
}

_Static_assert(sizeof(struct jk_usage) == sizeof(struct rusage), "the kernel's");

static void note_end(int pid, int status, const struct rusage *used) {
    struct run *run = runs;
    struct statfs scratch;
    while (run < runs + run_count && (run->pid != pid || run->ended))
        run++;
    if (run == runs + run_count) /* an orphan */
        return;
    run->ended = 1;
    run->report = (struct jk_report){.kind = JK_REPORT_EXITED, .pid = pid, .status = status};
    copy_bytes(&run->report.used, used, sizeof *used);
    SYS(getrusage, RUSAGE_SELF, &run->report.init);
    if (SYS(fstatfs, SCRATCH, &scratch) == 0) {
        run->report.scratch_bytes = (uint64_t)scratch.f_bfree * (uint64_t)scratch.f_bsize;
        run->report.scratch_names = (uint64_t)scratch.f_ffree;
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
        int alone = run->flags & JK_RUN_ALONE;
        if (!alone && !(run->flags & JK_RUN_DETACH) && pid != -ECHILD)
            end_tree(run);
        send_report(run->channel, &run->report, -1);
        if (alone) /* and with it all the rest */
            end_jail(0);
        if (run->guard) /* of what is left behind: its stack is there until the jail ends */
            run->area = 0;
        if (pid == -ECHILD)
            keep_mark(run);
        free_run(run);
        *run = runs[--run_count];
    }
}

/* A step of the plan and not of serve(), because the plan waits for the network namespace after it. */
int step_prepare(struct jail *j, const long *arg) {
    uint64_t child_ended = 1ull << (SIGCHLD - 1);
    int signals = (int)SYS(signalfd4, -1, &child_ended, sizeof child_ended, SFD_CLOEXEC | SFD_NONBLOCK);
    const char *own = arg[2] ? "/proc/self/exe" : "self/exe";
    long error = signals < 0 ? signals : SYS(newfstatat, arg[0], own, &own_file, 0);
    copy_bytes(j->kept, (const int[]){(int)arg[0], (int)arg[1], signals}, sizeof j->kept);
    return (int)(error < 0 ? error : arg[2] ? use_guards() : prepare_mark((int)arg[0]));
}

/*
 * What the plan has opened is no longer needed, but closing it takes as long as starting a program, so that is done
 * after the first one has been started (which closes its own copies). Returns the first number that the plan has left
 * free: whatever is opened from here on is at or above it.
 */
static long settle(const struct jail *j) {
    long error = 0;
    for (int n = 0; n < 3 && error >= 0; n++)
        error = SYS(dup3, j->kept[n], PROC + n, O_CLOEXEC);
    if (error >= 0)
        error = SYS(dup, CTL);
    if (error >= 0)
        move_mark((int)error);
    close_fd((int)error);
    return error;
}

void serve(const struct jail *j) {
    static struct pollfd polled[JK_RUNS + 2];
    const struct jk_report ready = {.kind = JK_REPORT_READY};
    const struct timespec at_once = {0, 0};
    long open_until = settle(j), error = send_report(CTL, &ready, -1);
    /* An error is the end: a program of our own user can take our limit on descriptors away (prlimit(2)), and a jail
     * whose PID 1 cannot work must not look alive. */
    while (open_until >= 0 && (error >= 0 || error == -EINTR)) {
        uint32_t count = run_count;
        polled[0] = (struct pollfd){CTL, POLLIN, 0};
        polled[1] = (struct pollfd){SIGNALS, POLLIN, 0};
        for (uint32_t n = 0; n < count; n++)
            polled[2 + n] = (struct pollfd){runs[n].channel, POLLIN, 0};
        error = SYS(ppoll, polled, count + 2, open_until ? &at_once : 0, 0, 0);
        for (uint32_t n = 0; n < count; n++) /* before reap(), which moves the runs about */
            if (polled[2 + n].revents)
                take_order(&runs[n], polled[2 + n].revents);
        if (polled[1].revents)
            reap();
        struct run run;
        if (polled[0].revents && take_request(&run, run_count < JK_RUNS))
            runs[run_count++] = run;
        if (open_until > SIGNALS)
            SYS(close_range, SIGNALS + 1, open_until - 1, 0);
        open_until = 0;
        if (run_count != 1) /* one that runs alone leaves its mark to the next; else one is made when it is wanted */
            prepare_mark(PROC);                             /* an error comes again when it matters */
        if (filtered < inherited_filters && run_count == 0) /* never beside a program that has taken all the memory */
            filtered = load_filters(0, inherited_filters) < 0 ? 0 : inherited_filters;
    }
    end_jail(1);
}
