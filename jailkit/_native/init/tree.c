/*
 * tree.c: ending all that one program has started, while other programs of the jail live on.
 *
 * Process groups, sessions and parents can be left; a cgroup namespace cannot, without CAP_SYS_ADMIN. So each program
 * starts in a new one, and its inode number in /proc/PID/ns/cgroup marks every descendant. (It changes nothing else:
 * the namespaces of all programs show the same group.) PID 1 does not reap while it kills, so the dead keep their
 * places under RLIMIT_NPROC and a fork bomb at its limit cannot fork again.
 */
#include "jail.h"

#include <signal.h>

struct entry {
    uint64_t inode, offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* The inode number is a mark only as long as somebody holds the namespace: then it may come again. */
int tree_hold(int proc, uint64_t *mark) {
    struct stat info = {0};
    int namespace = (int)SYS(openat, proc, "self/ns/cgroup", O_RDONLY | O_CLOEXEC, 0);
    if (namespace >= 0)
        SYS(fstat, namespace, &info);
    *mark = info.st_ino;
    return namespace;
}

static uint64_t mark_of(int proc, const char *pid) {
    char path[64];
    struct stat info;
    put_text(put_text(path, pid), "/ns/cgroup");
    return SYS(newfstatat, proc, path, &info, 0) < 0 ? 0 : info.st_ino;
}

static int to_pid(const char *name) {
    int pid = 0;
    for (; *name >= '0' && *name <= '9' && pid < 100000000; name++)
        pid = pid * 10 + (*name - '0');
    return *name ? 0 : pid;
}

/* One look at every process; how many carried the mark and were told to die. */
static int kill_marked(int proc, uint64_t mark) {
    char buffer[8192] __attribute__((aligned(8)));
    int found = 0;
    int dir = (int)SYS(openat, proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return 0;
    for (long size; (size = SYS(getdents64, dir, buffer, sizeof buffer)) > 0;)
        for (long at = 0; at < size; at += ((struct entry *)(buffer + at))->length) {
            const struct entry *e = (const struct entry *)(buffer + at);
            int pid = to_pid(e->name);
            if (pid > 1 && mark_of(proc, e->name) == mark)
                found += SYS(kill, pid, SIGKILL) == 0;
        }
    close_fd(dir);
    return found;
}

void tree_kill(int proc, uint64_t mark) {
    const struct timespec pause = {0, 200000};
    if (mark == 0)
        return;
    /* Bounded: a process in uninterruptible sleep dies later, and the next look is the end of the jail. */
    for (int look = 0; look < 500 && kill_marked(proc, mark) > 0; look++)
        if (look > 2)
            SYS(nanosleep, &pause, 0);
}
