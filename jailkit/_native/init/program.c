/*
 * program.c: one program, from its birth to its exec, in the memory of PID 1, of which it writes only its area. The
 * order is the protection: limits before the user changes (so that the count of processes is checked), groups before
 * the user (or there is no right left to do it), every descriptor of the jail's own closed before the working directory
 * is entered (CVE-2024-21626), the filter of system calls when nothing is left to do but the exec, exec last.
 */
#include "jail.h"

struct strings {
    const char *next, *end;
};

__attribute__((noreturn)) static void fail(int step, long error) {
    struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = JK_PHASE_PROGRAM, .step = step, .error = (int)-error};
    SYS(write, CHANNEL_FD, &failed, sizeof failed); /* a call that every filter allows */
    leave(127);
}

static void must(int step, long result) {
    if (result < 0)
        fail(step, result);
}

static const char *take_string(struct strings *from) {
    const char *text = from->next;
    while (from->next < from->end && *from->next)
        from->next++;
    if (from->next++ >= from->end)
        fail(JK_AT_REQUEST, -EINVAL);
    return text;
}

/* The area has room for every vector, each with its NULL. */
static const char **take_vector(struct strings *from, uint32_t count, const char ***room) {
    const char **vector = *room;
    for (uint32_t n = 0; n < count; n++)
        vector[n] = take_string(from);
    vector[count] = 0;
    *room = vector + count + 1;
    return vector;
}

/* 0, 1, 2: the program's; 3: the channel; 4: the exec pipe; every other descriptor is closed, not marked. */
static void set_stdio(const struct launch *fds) {
    for (int n = 0; n < 3; n++)
        if (fds->stdio[n] != n) /* else it is /dev/null already */
            must(JK_AT_STDIO, SYS(dup3, fds->stdio[n], n, 0));
    if (fds->exec_pipe >= 0)
        must(JK_AT_STDIO, SYS(dup3, fds->exec_pipe, CHANNEL_FD + 1, O_CLOEXEC));
    must(JK_AT_STDIO, SYS(close_range, CHANNEL_FD + 1 + (fds->exec_pipe >= 0), ~0u, 0));
}

static void set_identity(const struct jk_request *r) {
    for (uint32_t n = 0; n < r->rlimit_count; n++)
        must(JK_AT_RLIMIT, SYS(prlimit64, 0, r->rlimits[n].resource, &r->rlimits[n].soft, 0));
    SYS(umask, r->umask);
    if (r->flags & JK_RUN_SETGROUPS)
        must(JK_AT_GROUPS, SYS(setgroups, r->group_count, r->groups));
    if (r->caps) /* or the change of user takes them all */
        must(JK_AT_CAPS, SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
    must(JK_AT_GID, SYS(setresgid, r->gid, r->gid, r->gid));
    must(JK_AT_UID, SYS(setresuid, r->uid, r->uid, r->uid));
    /* With fs.suid_dumpable = 1 the change of user has made this copy of PID 1 readable for its new user. */
    must(JK_AT_UID, SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
    if (!(r->flags & JK_RUN_KEEP_CAPS)) {
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct sets[2] = {{r->caps, r->caps, r->caps}, {0, 0, 0}};
        must(JK_AT_CAPS, SYS(capset, &head, sets));
        for (int cap = 0; cap < 32 && r->caps >> cap; cap++) /* ambient: they outlive the exec */
            if (r->caps >> cap & 1)
                must(JK_AT_CAPS, SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
    }
}

/* Not the program that runs here and now, which is PID 1's: /proc/self/exe leads to it (CVE-2019-5736). Not by
 * openat2 and RESOLVE_NO_MAGICLINKS, which no program may call, and PID 1 is under the filter of its programs. */
static int open_plainly(const char *path, uint32_t flags, uint32_t mode) {
    struct stat info;
    int fd = (int)SYS(openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
    if (fd < 0 || (SYS(fstat, fd, &info) == 0 && (info.st_ino != own_file.st_ino || info.st_dev != own_file.st_dev)))
        return fd;
    close_fd(fd);
    return -ELOOP;
}

/* An error that may be another candidate's good luck, or the end; EACCES only when no later candidate is better. */
static long next_error(long error, long result) {
    if (result != -ENOENT && result != -ENOTDIR && result != -EACCES)
        fail(JK_AT_EXEC, result);
    return result == -EACCES || error != -EACCES ? result : error;
}

/* As execvp(3) looks. In two rounds, because a filter may refuse openat, and cannot be taken back for the next one. */
__attribute__((noreturn)) static void exec_first(const char **paths, const char **argv, const char **envp,
                                                 int filtered) {
    long error = -ENOENT;
    const char **found = paths;
    for (const char **path = paths; *path; path++) {
        long result = open_plainly(*path, O_PATH, 0);
        close_fd((int)result);
        if (result >= 0)
            *found++ = *path;
        else if (found == paths) /* else the one that was found decides */
            error = next_error(error, result);
    }
    *found = 0;
    must(JK_AT_FILTER, load_filters(filtered, kept_filters));
    for (; *paths; paths++)
        error = next_error(error, SYS(execve, *paths, argv, envp));
    fail(JK_AT_EXEC, error);
}

/* The host reads and writes files of the jail by descriptors that a process of the jail has opened for it. */
__attribute__((noreturn)) static void open_for_host(const struct jk_request *r, const char *path) {
    struct jk_report report = {.kind = JK_REPORT_OPENED, .phase = JK_PHASE_PROGRAM};
    int fd = open_plainly(path, r->open_flags, r->open_flags & O_CREAT ? 0777 : 0);
    must(JK_AT_OPEN, fd);
    send_report(CHANNEL_FD, &report, fd);
    leave(0);
}

void program(void *told) {
    const struct launch *launch = told;
    const struct jk_request *r = launch->request;
    uint64_t no_signals = 0;
    /* First of all the way to report: descriptor 3, over the control socket, which is not the program's. */
    if (SYS(dup3, launch->channel, CHANNEL_FD, O_CLOEXEC) < 0)
        leave(127);
    /* By files that the host has opened: its rights and its view of the groups count (cgroups(7)). */
    for (uint32_t n = 0; n < r->joins; n++)
        must(JK_AT_JOIN, SYS(write, launch->joins[n], "0", 1));
    if (launch->rules >= 0) /* a domain of its own, from which neither its guard nor PID 1 is reached */
        must(JK_AT_FILTER, SYS(landlock_restrict_self, launch->rules, 0));
    struct strings strings = {(const char *)(r + 1), (const char *)r + r->size};
    const char **room = launch->vectors;
    const char **candidates = take_vector(&strings, r->candidates, &room);
    const char **argv = take_vector(&strings, r->argc, &room);
    const char **envp = take_vector(&strings, r->envc, &room);
    const char *directory = take_string(&strings);
    set_stdio(launch);
    must(JK_AT_SESSION, SYS(setsid));
    if (r->flags & JK_RUN_TERMINAL)
        must(JK_AT_SESSION, SYS(ioctl, 0, TIOCSCTTY, 0));
    set_identity(r);
    must(JK_AT_CWD, SYS(chdir, directory));
    must(JK_AT_SIGNALS,
         SYS(rt_sigprocmask, 2 /* SIG_SETMASK, in the kernel's numbers */, &no_signals, 0, sizeof no_signals));
    if (r->flags & JK_RUN_OPEN)
        open_for_host(r, candidates[0]);
    exec_first(candidates, argv, envp, launch->filtered);
}
