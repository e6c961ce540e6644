/*
 * ext.h: what Python may call. Read by cffi as it stands, like abi.h. 0 or a number >= 0 on success, else -errno.
 * No function here prints or knows a policy; each that may wait runs without the interpreter lock. What a function
 * opens it writes into the caller's struct at once, so that an exception in Python (a KeyboardInterrupt) cannot lose
 * it.
 */

/* One jail as the host holds it: the control socket (the jail lives as long as it is open), the pid of the process that
 * ran the host phase, and pid and pidfd of PID 1; both processes are children. -1 where there is nothing. `patient`:
 * PID 1 ends the jail, and not the kernel with it, so it is given time before it is killed. */
struct jk_jail {
    int ctl, starter, pid, pidfd, patient;
};
/* Ids of the host, shared out in slices: `count` of them, of `slice` ids, from `first` on; tried from number `start`.
 */
struct jk_ids {
    uint32_t first, slice, count, start;
};
/* Descriptors by which a jail or a program joins its control groups, and a jail its network. */
struct jk_joins {
    int count, fd[8];
};
/* What stays open as long as a jail lives has numbers from here on, where the host program's limit allows it: the start
 * of the next jail copies what is below the two descriptors that it needs itself, and nothing above them. */
enum { JK_LASTING = 256 };
/* Take a report of the jail. 1: there was one; 0: end of file, or what no honest PID 1 says; -EAGAIN: not in time. */
int jk_hear(struct jk_jail *jail, struct jk_report *report, int timeout_ms);
/* Kill everything and wait for it. -ETIMEDOUT: PID 1 does not die. Afterwards there is nothing in `jail`. */
int jk_end(struct jk_jail *jail, int timeout_ms);

enum jk_stdio { JK_PIPE = -1, JK_NULL = -2, JK_SAME = -3 };
enum jk_event {
    JK_EVENT_REPORT = 1, /* the program ended, or never started; what it wrote is read as far as the buffers go */
    JK_EVENT_FULL = 2,   /* an output buffer is full: empty it and come again */
    JK_EVENT_TIMEOUT = 4,
    JK_EVENT_SIGNAL = 8, /* a signal arrived: let Python look at it and come again */
    JK_EVENT_LOST = 16   /* end of file on the channel, or nonsense: PID 1 is gone, or not to be trusted */
};
struct jk_stream {
    int fd, ended; /* our end of a pipe; -1: none */
    char *buffer;
    uint64_t size, used; /* of input: how much there is, and how much was written */
};
/* One program as the host holds it. */
struct jk_run {
    int channel, exec_pipe, pidfd, file, got_report;
    struct jk_report report; /* the last one that was FAILED or EXITED */
    struct jk_stream stream[3];
};
/* Ask for a program; -EAGAIN: the socket is full. stdio: a descriptor or one of jk_stdio; the flags in the request say
 * the same. */
int jk_submit(struct jk_run *run, int ctl, const char *request, uint64_t size, const int *stdio, int watched,
              const struct jk_joins *joins);
/* Start a jail. */
int jk_start(struct jk_jail *jail, const char *init, const char *plan, uint64_t size, const struct jk_ids *ids);
/* Give it the descriptors that its plan takes, in that order, and with `run`, which may be NULL, ask for its first
 * program before the jail is there to answer. */
int jk_give(const struct jk_jail *jail, const struct jk_joins *gifts, struct jk_run *run, const char *request,
            uint64_t size, const int *stdio);
/* Wait until a watched program has passed its exec, or has failed to; takes its pidfd. Returns as jk_hear. */
int jk_wait_exec(struct jk_run *run, int timeout_ms);
/* Take the file that a request asked for into `file`. 1: there is one, or a report of the failure; else as jk_hear. */
int jk_take_file(struct jk_run *run, int timeout_ms);
/* Move bytes between host and program until something is to be decided; returns jk_event bits. */
int jk_talk(struct jk_run *run, int timeout_ms);
/* Send an order: a signal number or JK_ORDER_KILL_TREE. */
int jk_order(const struct jk_run *run, int order);
/* Close every descriptor of a run. The program, if it still runs, is killed. */
void jk_close(struct jk_run *run);

/* Any system call with up to six arguments, for jailkit.syscalls. */
int64_t jk_syscall(int number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f);
