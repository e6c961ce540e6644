/*
 * ext.h: what Python may call. Read by cffi as it stands, like abi.h. 0 or a number >= 0 on success, else -errno.
 * No function here allocates, prints, or knows a policy; each runs without the interpreter lock.
 */

/* Start the program `init` with `ctl` and `plan` as its descriptors 3 and 4; returns its pid. */
int jk_start(const char *init, const char *id_base, int ctl, int plan);

/* One report, and the descriptor beside it or -1. 1: there was one, 0: end of file, -EAGAIN: not in time. */
int jk_receive(int sock, struct jk_report *report, int *passed_fd, int timeout_ms);

/* One program: its request, and the descriptors on both sides. */
struct jk_run {
    int ctl;
    const char *request;
    uint64_t size;
    int memory;            /* the request again as a memory file, when it is larger than JK_INLINE; else -1 */
    int want_exec_pipe;
    int theirs[3];         /* stdin, stdout, stderr of the program; -1: make a pipe; -2: the same as stdout */
    int ours[3];           /* out: the other ends of the pipes made; -1 elsewhere */
    int channel;           /* out */
    int exec_pipe;         /* out */
};
int jk_submit(struct jk_run *run);

enum jk_event {
    JK_EVENT_REPORT = 1,   /* the program ended, or never started; what it wrote is read as far as the buffers go */
    JK_EVENT_FULL = 2,     /* an output buffer is full: empty it and come again */
    JK_EVENT_TIMEOUT = 4,
    JK_EVENT_SIGNAL = 8,   /* a signal arrived: let Python look at it and come again */
    JK_EVENT_LOST = 16     /* end of file on the channel: PID 1 is gone */
};
struct jk_stream {
    int fd;                /* -1: none, or ended */
    int ended;
    char *buffer;
    uint64_t size;
    uint64_t used;
};
struct jk_talk {
    int channel;
    int got_report;
    struct jk_report report;   /* the last one that was FAILED or EXITED */
    struct jk_stream input;    /* `used` counts what was written */
    struct jk_stream output[2];
};
/* Move bytes between host and program until something is to be decided; returns jk_event bits. */
int jk_talk(struct jk_talk *talk, int timeout_ms);

/* Any system call with up to six arguments, for jailkit.syscalls. */
int64_t jk_syscall(int number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f);
