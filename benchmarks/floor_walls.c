/*
 * The walls that a jail has besides its namespaces and mounts, made by hand as well: a control group with a bound on
 * memory, Landlock rules, and the filter of system calls that jailkit loads. And a live jail with all of them, whose
 * PID 1 is asked for programs: both outputs are captured, as a caller of jailkit gets them.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_MAX "2147483648"
#define INSTRUCTIONS_MAX 4096
#define READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

enum { PASSED = 3 }; /* two outputs and the channel */

static struct sock_filter instructions[INSTRUCTIONS_MAX];
static struct sock_fprog filter = {0, instructions};
static char directory[512];
int passed[PASSED];

int load_filter(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, instructions, sizeof instructions);
    filter.len = (unsigned short)(size / (ssize_t)sizeof *instructions);
    close(fd);
    return size <= 0 ? -1 : 0;
}

static int group_file(const char *name, int flags) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return open(path, flags | O_CLOEXEC);
}

static int set(const char *name, const char *value, bool optional) {
    int fd = group_file(name, O_WRONLY);
    if (fd < 0)
        return optional && errno == ENOENT ? 0 : -1;
    int failed = write(fd, value, strlen(value)) < 0;
    close(fd);
    return failed;
}

/* Version 1 or 2 of control groups, by the files that are there. */
int make_group(void) {
    snprintf(directory, sizeof directory, "%s/floor-%d", world.groups, (int)getpid());
    if (mkdir(directory, 0755))
        return -1;
    world.join = world.unified ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : group_file("tasks", O_WRONLY);
    if (world.unified)
        return set("memory.max", MEMORY_MAX, false) || set("memory.swap.max", "0", true) || world.join < 0;
    return set("memory.limit_in_bytes", MEMORY_MAX, false) || set("memory.memsw.limit_in_bytes", MEMORY_MAX, true) ||
           world.join < 0;
}

static int look(const char *name) {
    char text[4096];
    int fd = group_file(name, O_RDONLY), failed = fd < 0 || read(fd, text, sizeof text) < 0;
    if (fd >= 0)
        close(fd);
    return failed;
}

int account(void) {
    if (world.unified)
        return look("memory.events") || look("memory.peak");
    return look("memory.oom_control") || look("memory.max_usage_in_bytes");
}

int remove_group(void) {
    close(world.join);
    return rmdir(directory);
}

/* In version 2 the child is born there. */
int join_group(void) {
    return !world.unified && write(world.join, "0", 1) != 1;
}

static int allow(int rules, const char *path, uint64_t access) {
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    int failed = rule.parent_fd < 0 || (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (rule.parent_fd >= 0)
        close(rule.parent_fd);
    return failed;
}

int landlock(void) {
    struct landlock_ruleset_attr all = {.handled_access_fs = ALL};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all.handled_access_fs, 0);
    int failed = rules < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || allow(rules, "/", READ) ||
                 allow(rules, "/dev", READ | LANDLOCK_ACCESS_FS_WRITE_FILE) ||
                 allow(rules, "/proc", READ | LANDLOCK_ACCESS_FS_WRITE_FILE) || allow(rules, "/tmp", ALL) ||
                 allow(rules, "/dev/shm", ALL) || (int)syscall(SYS_landlock_restrict_self, rules, 0);
    close(rules);
    return failed;
}

int filter_calls(void) {
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

int new_session(void) {
    return setsid() < 0;
}

int take_outputs(void) {
    return dup2(passed[0], 1) < 0 || dup2(passed[1], 2) < 0;
}

static int receive(int sock) {
    char bytes[REQUEST], space[CMSG_SPACE(sizeof passed)];
    struct iovec into = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) <= 0 || !CMSG_FIRSTHDR(&message))
        return -1;
    memcpy(passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof passed);
    return 0;
}

/* PID 1 of the live jail, which has all walls by now: its programs inherit them. */
int serve_programs(void) {
    char bytes[ANSWER] = {0};
    int status, signals = ends_of_programs();
    struct signalfd_siginfo ignored;
    for (;;) {
        struct pollfd ready[2] = {{world.asked, POLLIN, 0}, {signals, POLLIN, 0}};
        poll(ready, 2, -1);
        if (ready[1].revents && read(signals, &ignored, sizeof ignored) > 0)
            while (waitpid(-1, &status, WNOHANG) > 0) {
                send(passed[2], bytes, ANSWER, MSG_NOSIGNAL);
                close(passed[2]);
            }
        if (ready[0].revents) {
            if (receive(world.asked))
                _exit(0);
            if (start_program(asked_steps) < 0)
                _exit(1);
            close(passed[0]);
            close(passed[1]);
        }
    }
}

/* Until both outputs have ended and the answer is there. */
static int hear(int out, int errors, int channel) {
    struct pollfd ready[3] = {{out, POLLIN, 0}, {errors, POLLIN, 0}, {channel, POLLIN, 0}};
    char bytes[65536];
    for (int open_ones = 3; open_ones;) {
        if (poll(ready, 3, -1) < 1)
            return -1;
        for (int n = 0; n < 3; n++)
            if (ready[n].fd >= 0 && ready[n].revents) {
                ssize_t size = read(ready[n].fd, bytes, sizeof bytes);
                if (n < 2 && size > 0 && write(n + 1, bytes, (size_t)size) == size)
                    continue; /* to whoever wants to see what the jail is like; /bin/true writes nothing */
                ready[n].fd = -1;
                open_ones--;
            }
    }
    return 0;
}

static int send_request(int sock, const int *fds) {
    char bytes[REQUEST] = {0}, space[CMSG_SPACE(PASSED * sizeof *fds)] = {0};
    struct iovec from = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &from, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(PASSED * sizeof *fds);
    memcpy(CMSG_DATA(head), fds, PASSED * sizeof *fds);
    return sendmsg(sock, &message, MSG_NOSIGNAL) < 0;
}

static int kept[PASSED];

int open_streams(void) {
    int pair[2];
    for (int n = 0; n < PASSED; n++) {
        if (n < 2 ? pipe2(pair, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
            return -1;
        kept[n] = pair[0];
        passed[n] = pair[1];
    }
    return 0;
}

static void close_three(const int *fds) {
    for (int n = 0; n < PASSED; n++)
        close(fds[n]);
}

/* Of a program that is PID 1 itself nobody sends an answer: it ends with its channel. */
int hear_streams(void) {
    close_three(passed);
    int failed = hear(kept[0], kept[1], kept[2]);
    close_three(kept);
    return failed;
}

int ask_for_program(int sock) {
    return open_streams() || send_request(sock, passed) || hear_streams() || account();
}
