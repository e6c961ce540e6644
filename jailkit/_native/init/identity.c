/* identity.c: who the jail is: ids and capabilities. user_namespaces(7), capabilities(7). */
#include "jail.h"

#include <signal.h>

/* "/proc/<pid>/<file>" */
static void proc_path(char *to, int pid, const char *file) {
    to = put_number(put_text(to, "/proc/"), (uint64_t)pid);
    put_text(put_text(to, "/"), file);
}

static int write_proc(int pid, const char *file, const char *text, uint64_t size) {
    char path[64];
    if (text_length(file) > 32)
        return -ENAMETOOLONG;
    proc_path(path, pid, file);
    int fd = (int)SYS(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int error = write_all(fd, text, size);
    close_fd(fd);
    return error;
}

/* An id map in the kernel's words, in one write as the kernel wants it. `owner` stands for JK_OWNER. */
static int write_map(const struct jail *j, int pid, const char *file, const struct jk_idmap *map, uint32_t count,
                     uint32_t owner) {
    char text[512], *end = text;
    if (count > 8)
        return -EINVAL;
    for (const struct jk_idmap *line = map; line < map + count; line++) {
        end = put_number(end, line->inside == (uint32_t)JK_OWNER ? owner : line->inside);
        *end++ = ' ';
        end = put_number(end, (uint64_t)line->outside + (line->relative ? j->id_base : 0));
        *end++ = ' ';
        end = put_number(end, line->count);
        *end++ = '\n';
    }
    return write_proc(pid, file, text, (uint64_t)(end - text));
}

int step_idmap(struct jail *j, const long *arg) {
    const struct jk_idmap *map = (const struct jk_idmap *)arg[1];
    return write_map(j, j->pid, text(arg[0]), map, (uint32_t)arg[2] / sizeof *map, 0);
}

int step_proc_write(struct jail *j, const long *arg) {
    return write_proc(j->pid, text(arg[0]), text(arg[1]), (uint64_t)arg[2]);
}

/* newuidmap(1) and newgidmap(1): the set-id programs that give an ordinary user the range of /etc/subuid. */
int step_newidmap(struct jail *j, const long *arg) {
    enum { MOST = 32 };
    char pid[16];
    const char *argv[MOST + 3] = {text(arg[0]), pid}, *none[] = {0};
    int argc = 2, status = 0;
    *put_number(pid, (uint64_t)j->pid) = 0;
    for (long n = 0; n < arg[2] && argc < MOST; n += (long)text_length(argv[argc - 1]) + 1)
        argv[argc++] = text(arg[1]) + n;
    long helper = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (helper == 0) {
        SYS(execve, argv[0], argv, none);
        SYS(exit_group, 127);
    }
    long error = helper < 0 ? helper : SYS(wait4, helper, &status, __WALL, 0);
    return error < 0 ? (int)error : status == 0 ? 0 : status == 127 << 8 ? -ENOENT : -EPERM;
}

/* Only its name in /proc is wanted: the namespace lives on in the descriptor, the process does not. */
int step_userns(struct jail *j, const long *arg) {
    const struct jk_idmap *map = (const struct jk_idmap *)arg[1];
    struct stat owner = {0};
    char path[64];
    if (arg[0] >= 0 && SYS(fstat, arg[0], &owner) < 0)
        return -EBADF;
    long holder = SYS(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    while (holder == 0)
        SYS(ppoll, 0, 0, 0, 0, 0);
    if (holder < 0)
        return (int)holder;
    int error = write_map(j, (int)holder, "uid_map", map, 1, owner.st_uid);
    if (error == 0)
        error = write_map(j, (int)holder, "gid_map", map + 1, 1, owner.st_gid);
    proc_path(path, (int)holder, "ns/user");
    if (error == 0)
        error = (int)SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    SYS(kill, holder, SIGKILL);
    SYS(wait4, holder, 0, __WALL, 0);
    return error;
}

int step_cap_bound(struct jail *j, const long *arg) {
    for (int cap = 0; cap < 64; cap++) {
        int error = arg[0] >> cap & 1 ? 0 : (int)SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (error < 0) /* EINVAL: the first number that this kernel does not know */
            return error == -EINVAL ? 0 : error;
    }
    return 0;
}
