/*
 * program.c: one program, from the fork to its exec. The order is the protection: limits before the user changes
 * (so that the count of processes is checked), groups before the user (or there is no right left to do it), every
 * descriptor of the jail's own closed before the working directory is entered (CVE-2024-21626), exec last.
 */
#include "jail.h"

#include <linux/mman.h>

struct strings {
    const char *next, *end;
};

__attribute__((noreturn)) static void fail(int step, long error) {
    struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = JK_PHASE_PROGRAM, .step = step, .error = (int)-error};
    send_report(CHANNEL_FD, &failed, -1);
    for (;;)
        SYS(exit_group, 127);
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

static const char **take_vector(struct strings *from, uint32_t count) {
    if (count > (uint32_t)(from->end - from->next)) /* each string has at least its NUL */
        fail(JK_AT_REQUEST, -EINVAL);
    long at = SYS(mmap, 0, (count + 1ul) * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096)
        fail(JK_AT_REQUEST, at);
    const char **vector = (const char **)at;
    for (uint32_t n = 0; n < count; n++)
        vector[n] = take_string(from);
    return vector; /* anonymous memory is zero: the NULL at the end is there */
}

static const struct jk_request *whole_request(const struct jk_request *head, int memory) {
    if (memory < 0)
        return head;
    long at = SYS(mmap, 0, head->size, PROT_READ, MAP_PRIVATE, memory, 0);
    if (at < 0 && at > -4096)
        fail(JK_AT_REQUEST, at);
    return (const struct jk_request *)at;
}

/* 0, 1, 2: the program's; 3: the channel; 4: the exec pipe; every other descriptor is closed, not marked. */
static void set_stdio(const struct passed *fds) {
    for (int n = 0; n < 3; n++)
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
    must(JK_AT_GID, SYS(setresgid, r->gid, r->gid, r->gid));
    must(JK_AT_UID, SYS(setresuid, r->uid, r->uid, r->uid));
    /* With fs.suid_dumpable = 1 the change of user has made this copy of PID 1 readable for its new user. */
    must(JK_AT_UID, SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
    if (!(r->flags & JK_RUN_KEEP_CAPS)) {
        struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
        must(JK_AT_CAPS, SYS(capset, &head, none));
    }
}

/* As execvp(3) looks: the first that can be run; EACCES only when no later candidate is better. */
__attribute__((noreturn)) static void exec_first(const char **candidates, const char **argv, const char **envp) {
    long error = -ENOENT;
    for (; *candidates; candidates++) {
        long result = SYS(execve, *candidates, argv, envp);
        if (result != -ENOENT && result != -ENOTDIR && result != -EACCES)
            fail(JK_AT_EXEC, result);
        if (result == -EACCES || error != -EACCES)
            error = result;
    }
    fail(JK_AT_EXEC, error);
}

/* The host reads and writes files of the jail by descriptors that a process of the jail has opened for it. */
__attribute__((noreturn)) static void open_for_host(const struct jk_request *r, const char *path) {
    struct jk_report report = {.kind = JK_REPORT_OPENED, .phase = JK_PHASE_PROGRAM};
    int fd = (int)SYS(openat, AT_FDCWD, path, r->open_flags | O_CLOEXEC, 0777);
    must(JK_AT_OPEN, fd);
    send_report(CHANNEL_FD, &report, fd);
    for (;;)
        SYS(exit_group, 0);
}

void program(const struct jk_request *head, const struct passed *fds) {
    uint64_t no_signals = 0;
    /* First of all the way to report: descriptor 3, over the control socket, which is not the program's. */
    if (SYS(dup3, fds->channel, CHANNEL_FD, O_CLOEXEC) < 0)
        SYS(exit_group, 127);
    const struct jk_request *r = whole_request(head, fds->memory);
    struct strings strings = {(const char *)(r + 1), (const char *)r + head->size};
    const char **candidates = take_vector(&strings, head->candidates);
    const char **argv = take_vector(&strings, head->argc);
    const char **envp = take_vector(&strings, head->envc);
    const char *directory = take_string(&strings);
    set_stdio(fds);
    must(JK_AT_SESSION, SYS(setsid));
    set_identity(head);
    must(JK_AT_CWD, SYS(chdir, directory));
    must(JK_AT_SIGNALS, SYS(rt_sigprocmask, 2 /* SIG_SETMASK, in the kernel's numbers */, &no_signals, 0, sizeof no_signals));
    if (head->flags & JK_RUN_OPEN)
        open_for_host(head, candidates[0]);
    exec_first(candidates, argv, envp);
}
