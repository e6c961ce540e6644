/* identity.c: who the jail is: ids, capabilities, host name, loopback. user_namespaces(7), capabilities(7). */
#include "jail.h"

#include <linux/if.h>
#include <linux/sockios.h>
#include <signal.h>

/* "/proc/<pid>/<file>" */
static void proc_path(char *to, int pid, const char *file) {
    to = put_text(to, "/proc/");
    to = put_number(to, (uint64_t)pid);
    *to++ = '/';
    put_text(to, file);
}

static int write_proc(int pid, const char *file, const char *text, uint64_t size) {
    char path[64];
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

int step_idmap(struct jail *j, const struct jk_step *s) {
    const struct jk_idmap *map = (const struct jk_idmap *)plan_text(j, s->text);
    return write_map(j, j->pid, plan_text(j, s->path), map, s->text_size / sizeof *map, 0);
}

int step_proc_write(struct jail *j, const struct jk_step *s) {
    return write_proc(j->pid, plan_text(j, s->path), plan_text(j, s->text), s->text_size);
}

/* newuidmap(1) and newgidmap(1): the set-id programs that give an ordinary user the range of /etc/subuid. */
int step_newidmap(struct jail *j, const struct jk_step *s) {
    enum { MOST = 32 };
    char pid[16];
    const char *argv[MOST + 3] = {plan_text(j, s->path), pid};
    int argc = 2, status = 0;
    *put_number(pid, (uint64_t)j->pid) = 0;
    for (uint32_t n = 0; n < s->text_size && argc < MOST; n += (uint32_t)text_length(argv[argc - 1]) + 1)
        argv[argc++] = plan_text(j, s->text) + n;
    long helper = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (helper == 0) {
        const char *none[] = {0};
        SYS(execve, argv[0], argv, none);
        SYS(exit_group, 127);
    }
    if (helper < 0)
        return (int)helper;
    long error = SYS(wait4, helper, &status, __WALL, 0);
    if (error < 0)
        return (int)error;
    return status == 0 ? 0 : status == 127 << 8 ? -ENOENT : -EPERM;
}

static int open_namespace(int pid, const char *name) {
    char path[64], kind[32];
    put_text(put_text(kind, "ns/"), name);
    proc_path(path, pid, kind);
    return (int)SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

/* Only its name in /proc is wanted: the namespace lives on in the descriptor, the process does not. */
int step_userns(struct jail *j, const struct jk_step *s) {
    const struct jk_idmap *map = (const struct jk_idmap *)plan_text(j, s->text);
    struct stat owner = {0};
    if (s->text_size != 2 * sizeof *map)
        return -EINVAL;
    if (s->at != JK_NONE && SYS(fstat, j->slot[s->at], &owner) < 0)
        return -EBADF;
    long holder = SYS(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (holder < 0)
        return (int)holder;
    if (holder == 0)
        for (;;)
            SYS(ppoll, 0, 0, 0, 0, 0);
    int error = write_map(j, (int)holder, "uid_map", map, 1, owner.st_uid);
    if (error == 0)
        error = write_map(j, (int)holder, "gid_map", map + 1, 1, owner.st_gid);
    if (error == 0)
        error = open_namespace((int)holder, "user");
    SYS(kill, holder, SIGKILL);
    SYS(wait4, holder, 0, __WALL, 0);
    return error;
}

int step_join(struct jail *j, const struct jk_step *s) {
    (void)s;
    int users = open_namespace(j->pid, "user");
    int error = users < 0 ? users : (int)SYS(setns, users, CLONE_NEWUSER);
    close_fd(users);
    return error;
}

int step_unshare(struct jail *j, const struct jk_step *s) {
    (void)j;
    return (int)SYS(unshare, s->flags);
}

int step_give(struct jail *j, const struct jk_step *s) {
    struct jk_report gift = {.kind = JK_REPORT_READY};
    int namespace = open_namespace((int)SYS(getpid), plan_text(j, s->path));
    int error = namespace < 0 ? namespace : send_report(j->gate[1], &gift, namespace);
    close_fd(namespace);
    return error;
}

int step_take(struct jail *j, const struct jk_step *s) {
    struct jk_report gift;
    int namespace = -1, count;
    int received = receive_message(j->gate[0], &gift, sizeof gift, &namespace, &count);
    if (received < 0 || count != 1) /* the host phase failed and has said so before */
        return received < 0 ? received : -EPIPE;
    int error = (int)SYS(setns, namespace, s->flags);
    close_fd(namespace);
    return error;
}

int step_setids(struct jail *j, const struct jk_step *s) {
    (void)j;
    long error = s->flags ? SYS(setgroups, 0, 0) : 0;
    if (error == 0)
        error = SYS(setresgid, s->value, s->value, s->value);
    if (error == 0)
        error = SYS(setresuid, s->value, s->value, s->value);
    return (int)error;
}

int step_sethostname(struct jail *j, const struct jk_step *s) {
    return (int)SYS(sethostname, plan_text(j, s->text), s->text_size);
}

int step_loopback(struct jail *j, const struct jk_step *s) {
    (void)j, (void)s;
    struct ifreq request = {.ifr_name = "lo"};
    int sock = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return sock;
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    int error = (int)SYS(ioctl, sock, SIOCSIFFLAGS, &request);
    close_fd(sock);
    return error;
}

int step_cap_bound(struct jail *j, const struct jk_step *s) {
    (void)j;
    for (int cap = 0; cap < 64; cap++) {
        if (s->value >> cap & 1)
            continue;
        int error = (int)SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (error == -EINVAL) /* the first number that this kernel does not know */
            return 0;
        if (error < 0)
            return error;
    }
    return 0;
}

int step_prctl(struct jail *j, const struct jk_step *s) {
    (void)j;
    return (int)SYS(prctl, s->flags, s->value, 0, 0, 0);
}
