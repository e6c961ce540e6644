/* request.c: from a message on the control socket to a program that was born. */
#include "serve.h"

#include <signal.h>

enum { GUARD_STACKS = 8192, USUAL_AREA = 131072, MOST_FDS = 6 + JK_JOINS };

static struct area *spare;      /* of the usual size; most jails run one program at a time */
static uint64_t next_mark;      /* of the program that will come next ... */
static int next_namespace = -1; /* ... and what it is the number of; -1 when it is to be made */
static union {
    struct jk_request head;
    char bytes[JK_INLINE];
} request;

void free_run(struct run *run) {
    if (run->area && !spare && run->area->size == USUAL_AREA)
        spare = run->area;
    else if (run->area)
        SYS(munmap, run->area, run->area->size);
    close_fd(run->channel);
    close_fd(run->namespace);
}

/* How many descriptors come with a request of this size; -1 for one that makes no sense. */
static int wanted_descriptors(long size) {
    const struct jk_request *head = &request.head;
    if (size < (long)sizeof *head || head->abi != JK_ABI || head->size < sizeof *head)
        return -1;
    if (size != (head->size > JK_INLINE ? (long)sizeof *head : (long)head->size))
        return -1;
    if (head->group_count > JK_GROUPS || head->rlimit_count > JK_RLIMITS || head->candidates == 0)
        return -1;
    uint64_t strings = (uint64_t)head->candidates + head->argc + head->envc + 1;
    if (strings > head->size - sizeof *head || head->joins > JK_JOINS) /* each string has at least its NUL */
        return -1;
    int count = 1 + (int)head->joins + (head->size > JK_INLINE) + !!(head->flags & JK_RUN_EXEC_PIPE);
    for (int n = 0; n < 3; n++)
        count += !(head->flags & (uint32_t)(JK_RUN_NULL << n)) && !(n == 2 && head->flags & JK_RUN_MERGE);
    return count;
}

/* What is large comes in a file, of which nothing is believed but the strings. */
static long new_area(struct run *run, int file) {
    const struct jk_request *head = &request.head;
    uint64_t vectors = ((uint64_t)head->candidates + head->argc + head->envc + 3) * sizeof(char *);
    uint64_t size = (sizeof(struct area) + head->size + vectors + STACK + GUARD_STACKS + 8191) & ~4095ull;
    if (size < USUAL_AREA)
        size = USUAL_AREA;
    long at = (long)spare, got = head->size;
    if (size > USUAL_AREA || !spare)
        at = SYS(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        spare = 0;
    if ((unsigned long)at > -4096ul)
        return at;
    run->area = (struct area *)at;
    run->area->size = size;
    if (file >= 0)
        got = SYS(pread64, file, &run->area->request, head->size, 0);
    copy_bytes(&run->area->request, head, file >= 0 ? sizeof *head : head->size);
    run->area->launch.request = &run->area->request;
    run->area->launch.vectors = (const char **)(((uintptr_t)&run->area->request + head->size + 15) & ~15ul);
    return got == head->size ? 0 : got < 0 ? got : -EINVAL;
}

/* The descriptors in the order of abi.h; where none came, descriptor n of PID 1 is /dev/null. */
static long tell(struct run *run, const int *fds) {
    uint32_t flags = request.head.flags;
    int next = 1, stdio[3];
    for (int n = 0; n < 3; n++) {
        if (flags & (uint32_t)(JK_RUN_NULL << n))
            stdio[n] = n;
        else
            stdio[n] = n == 2 && (flags & JK_RUN_MERGE) ? stdio[1] : fds[next++];
    }
    long error = new_area(run, request.head.size > JK_INLINE ? fds[next++] : -1);
    if (error < 0)
        return error;
    run->area->launch.channel = run->channel;
    run->area->launch.rules = pid1 ? PROC : -1;
    run->area->launch.filtered = filtered; /* now, and not when it is born: PID 1 does not wait for that */
    copy_bytes(run->area->launch.stdio, stdio, sizeof stdio);
    run->area->launch.exec_pipe = flags & JK_RUN_EXEC_PIPE ? fds[next++] : -1;
    copy_bytes(run->area->launch.joins, fds + next, request.head.joins * sizeof *fds);
    return 0;
}

/* A cgroup namespace of its own marks all that the next program will ever start (see tree.c). */
long prepare_mark(int proc) {
    if (next_namespace >= 0 || pid1)
        return 0;
    long error = SYS(unshare, CLONE_NEWCGROUP);
    if (error == 0)
        error = next_namespace = tree_hold(proc, &next_mark);
    return error < 0 ? error : 0;
}

void keep_mark(struct run *run) {
    if (next_namespace < 0 && run->mark == next_mark) { /* else PID 1 has gone on to another namespace */
        next_namespace = run->namespace;
        run->namespace = -1;
    }
}

void move_mark(int from) {
    next_namespace = (int)SYS(fcntl, next_namespace, F_DUPFD_CLOEXEC, from);
}

/* Who watches is told at once and given a pidfd; for the others the end is soon enough, and saves a wake-up. */
long give_birth(struct run *run, unsigned long how) {
    struct jk_report report = {.kind = JK_REPORT_STARTED};
    int pidfd = -1, watched = run->flags & JK_RUN_EXEC_PIPE;
    how |= CLONE_VM | (watched ? CLONE_PIDFD : 0);
    run->pid = report.pid = (int)clone_on(how, stack_of(run), &pidfd, program, &run->area->launch);
    if (run->pid > 0 && watched)
        send_report(run->channel, &report, pidfd);
    close_fd(pidfd);
    return run->pid < 0 ? run->pid : 0;
}

static long start(struct run *run) {
    long error = prepare_mark(PROC);
    if (error < 0)
        return error;
    run->mark = next_mark;
    run->namespace = next_namespace;
    next_namespace = -1;
    return pid1 && !(run->flags & JK_RUN_OPEN) ? start_guarded(run) : give_birth(run, SIGCHLD);
}

int take_request(struct run *run, int room) {
    int fds[MOST_FDS], count = 0;
    for (int n = 0; n < MOST_FDS; n++)
        fds[n] = -1;
    long size = receive_message(CTL, &request, sizeof request, fds, MOST_FDS);
    if (size <= 0) /* the host closed the jail, or died; or our own limit on descriptors cut some off: then it ends */
        end_jail(size == 0 ? 0 : 1);
    while (count < MOST_FDS && fds[count] >= 0)
        count++;
    *run = (struct run){.channel = fds[0], .namespace = -1, .flags = request.head.flags};
    long error = wanted_descriptors(size) == count ? 0 : -EINVAL;
    int step = error < 0 ? JK_AT_REQUEST : JK_AT_FORK;
    if (error == 0)
        error = room ? tell(run, fds) : -EAGAIN;
    if (error == 0)
        error = start(run);
    for (int n = 1; n < MOST_FDS; n++)
        close_fd(fds[n]);
    if (error == 0)
        return 1;
    struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = JK_PHASE_PROGRAM, .step = step, .error = (int)-error};
    send_report(run->channel, &failed, -1);
    free_run(run);
    return 0;
}
