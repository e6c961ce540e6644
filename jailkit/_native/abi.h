/*
 * abi.h: the words that Python, the starter and jailkit-init share.
 *
 * Read by the compiler and, as it stands, by cffi's cdef(): no preprocessor lines. Whoever includes it
 * includes <stdint.h> first. Every offset in a plan counts from the first byte of the plan.
 */

enum jk_limit {
    JK_ABI = 4,        /* both sides must agree; raised with every change of this file */
    JK_SLOTS = 512,    /* descriptors that a plan may name */
    JK_NONE = -1,      /* no slot */
    JK_CTL_FD = 3,     /* jailkit-init finds its control socket here ... */
    JK_PLAN_FD = 4,    /* ... and the plan, a memory file, here */
    JK_FDS = 5,        /* so many has it; more is given to it over the control socket */
    JK_JOINS = 8,      /* descriptors that a jail or a program joins control groups by, at most */
    JK_GROUPS = 32,    /* supplementary groups of one program */
    JK_RLIMITS = 16,   /* resource limits of one program */
    JK_INLINE = 61440, /* a request up to this size travels in the message, a larger one in a memory file */
    JK_RUNS = 1024     /* programs alive at once in one jail */
};

enum jk_phase {
    JK_PHASE_HOST = 1,   /* jailkit-init, still with the rights of the caller */
    JK_PHASE_JAIL = 2,   /* PID 1 of the jail, before any program */
    JK_PHASE_PROGRAM = 3 /* between the fork of one program and its exec */
};

enum jk_op { /* arguments in the order of jk_step.arg */
             JK_OP_CALL =
                 1, /* the system call `number` with all arguments; its result goes into `slot`, if one is named */
             JK_OP_CLONE,   /* flags, cgroup or -1: make PID 1 in new namespaces; its pidfd goes into `slot` */
             JK_OP_RELEASE, /* PID 1 may begin; what follows in the host phase happens beside it */
             JK_OP_GIVE,    /* descriptor: pass it to PID 1 */
             JK_OP_TAKE,    /* JK_PHASE_HOST, from the host program, or 0, from JK_OP_GIVE: wait for it; into `slot` */
             JK_OP_IDMAP,   /* name of a file in /proc/PID1, jk_idmap lines, bytes of them */
             JK_OP_PROC_WRITE, /* name of a file in /proc/PID1, text, size */
             JK_OP_NEWIDMAP,   /* path, strings, bytes of them: run this set-id helper for PID 1 */
             JK_OP_USERNS,  /* owner's file or -1, two jk_idmap lines: a user namespace for an idmapped mount, in `slot`
                             */
             JK_OP_SETATTR, /* mount, user namespace or -1, AT_ flags, attributes to set, to clear */
             JK_OP_ATTACH,  /* mount, root or -1, path: attach it there, resolved inside the root */
             JK_OP_MASK,    /* mount, root, path: attach a copy of it there, if the path exists */
             JK_OP_MKDIR,   /* root, path, mode: a directory inside the root */
             JK_OP_TARGET,  /* root, path, mount: a mount point, a directory or a file as the mount is */
             JK_OP_SYMLINK, /* root, path, text */
             JK_OP_FILE,    /* root, path, mode, bytes, size: a new file */
             JK_OP_WRITE,   /* root, path, bytes, size: write to a file that exists */
             JK_OP_FIND,    /* root, path, open flags: open what is there, resolved inside the root, into `slot` */
             JK_OP_CHECK_DEVICE, /* descriptor, number: it must be this character device */
             JK_OP_CAP_BOUND,    /* mask: drop every other capability from the bounding set */
             JK_OP_FILTER, /* bytes, size, flags of seccomp(2), whether PID 1 loads it and all inherit it: a filter of
                            * system calls; else each program loads it before its exec */
             JK_OP_LANDLOCK_RULE, /* ruleset, file, rights where it is a directory, rights where it is not */
             JK_OP_PREPARE /* a procfs to find programs in, what the jail writes to, 0: get ready for the first program.
                            * Without namespaces: a Landlock ruleset for each program, what the jail writes to, 1 */
};

enum jk_step_flag {
    JK_STEP_OPTIONAL = 1, /* ENOENT leaves the slot empty; later steps on an empty slot do nothing */
    JK_STEP_KEEP = 2      /* what already exists stays as it is (EEXIST) */
};

enum jk_kind { JK_NUMBER = 0, JK_TEXT = 1, JK_SLOT = 2 };

struct jk_step {
    uint32_t op, how; /* jk_step_flag */
    int32_t slot;     /* where a descriptor goes that the step makes, or JK_NONE */
    uint32_t number;  /* of a system call */
    uint8_t kind[8];  /* of each argument: a number, the offset of bytes in the plan (a multiple of 8), or a slot */
    uint64_t arg[6];
};

struct jk_plan {
    uint32_t abi, size;              /* of the whole plan in bytes */
    uint32_t host_steps, jail_steps; /* the first belong to JK_PHASE_HOST, the rest to JK_PHASE_JAIL; they follow */
};

/* One line of an id map. `outside` is counted from the jail's own id range when `relative` is set. In a map for
 * JK_OP_USERNS `inside` JK_OWNER stands for the owner of the file. */
enum jk_owner { JK_OWNER = -1 };
struct jk_idmap {
    uint32_t inside, outside, count, relative;
};

enum jk_report_kind {
    JK_REPORT_BORN = 1, /* on the control socket: PID 1 exists; pid, and its pidfd beside the message */
    JK_REPORT_READY,    /* on the control socket: every step is done */
    JK_REPORT_FAILED,   /* a step failed: phase, step, error; nothing runs */
    JK_REPORT_STARTED,  /* on the channel of one program: it was forked; its pidfd beside the message */
    JK_REPORT_OPENED,   /* on the channel: beside it is what JK_RUN_OPEN asked for, or the listener of a filter */
    JK_REPORT_EXITED    /* on the channel of one program: it ended; status and what it used */
};

/* struct rusage as the kernel fills it, see getrusage(2); blocks are of 512 bytes. */
struct jk_usage {
    int64_t user_s, user_us, system_s, system_us, max_rss_kib, unused[3], minor_faults, major_faults, swaps;
    int64_t blocks_in, blocks_out, unused_too[3], switches, preemptions;
};

/* `pid` is in the host's numbers in BORN, in the jail's in STARTED; `status` is as wait4 gives it. */
struct jk_report {
    uint32_t kind;
    int32_t phase, step, error, pid, status;
    struct jk_usage used, init;            /* of the program; of PID 1 itself so far */
    uint64_t scratch_bytes, scratch_names; /* what is free of all that the jail can write */
};

enum jk_request_flag {
    JK_RUN_ALONE = 1,     /* PID 1 ends with this program */
    JK_RUN_DETACH = 2,    /* what the program leaves behind lives on */
    JK_RUN_KEEP_CAPS = 4, /* the program starts with the capabilities that the bounding set allows */
    JK_RUN_EXEC_PIPE = 8, /* the last descriptor is a pipe whose end of file says that exec worked */
    JK_RUN_NULL = 64,     /* times 1, 2, 4 for stdin, stdout, stderr: /dev/null, and no descriptor beside the request */
    JK_RUN_MERGE = 512,   /* stderr is the same as stdout, and no descriptor beside the request */
    JK_RUN_OPEN = 32,     /* open the only candidate with `open_flags` as the program's user instead of executing it */
    JK_RUN_TERMINAL = 1024, /* stdin is a terminal: it becomes that of the program's session */
    JK_RUN_SETGROUPS = 16   /* set the supplementary groups; off where the id map forbids setgroups(2) */
};

struct jk_rlimit {
    uint32_t resource, reserved;
    uint64_t soft, hard;
};

/* One program. Behind it, `candidates` paths to try, `argc` arguments, `envc` variables, and the working directory,
 * each ended by NUL. Descriptors beside it: channel, [stdin], [stdout], [stderr], [memory file], [exec pipe], and
 * `joins` files to write "0" to, by which the program joins control groups of its own. */
struct jk_request {
    uint32_t abi, size; /* of all of it in bytes; above JK_INLINE only this header is in the message */
    uint32_t flags, uid, gid, umask, group_count, rlimit_count, candidates, argc, envc;
    uint32_t open_flags; /* for JK_RUN_OPEN; the mode is 0777 less the umask */
    uint32_t caps;       /* capabilities that it starts with and hands on, without JK_RUN_KEEP_CAPS */
    uint32_t joins;      /* see above */
    uint32_t groups[32];
    struct jk_rlimit rlimits[16];
};

/* What the host may ask on the channel of one program: a signal number for the program itself, or: */
enum jk_order { JK_ORDER_KILL_TREE = 0 };

enum jk_program_step {
    JK_AT_REQUEST = 0,
    JK_AT_FORK,
    JK_AT_JOIN,
    JK_AT_STDIO,
    JK_AT_SESSION,
    JK_AT_RLIMIT,
    JK_AT_GROUPS,
    JK_AT_GID,
    JK_AT_UID,
    JK_AT_CAPS,
    JK_AT_CWD,
    JK_AT_SIGNALS,
    JK_AT_OPEN,
    JK_AT_FILTER,
    JK_AT_EXEC
};
