/*
 * The steps that a cold jail takes between clone and exec, one function each, in the order of the
 * tables at the end. The view of files is built by descriptor with the new mount calls.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define JAIL_USER 1000
#define TMPFS_SIZE "268435456"
#define DEVICE_ATTRS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
#define PRIVATE_ATTRS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static char *const environment[] = {"PATH=/usr/bin:/bin", "HOME=/", NULL};

int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int wait_for_maps(void) {
    eventfd_t value;
    return eventfd_read(world.go_event, &value);
}

/* The caller's ids are not in the map: files could not be created before this step. */
static int become_jail_root(void) {
    return setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0);
}

static int make_private(void) {
    struct mount_attr attr = {.propagation = MS_PRIVATE};
    return mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof attr);
}

static int new_filesystem(const char *type, const char *size, const char *mode, unsigned attrs) {
    int context = fsopen(type, FSOPEN_CLOEXEC);
    if (context < 0)
        return -1;
    int mount_fd = -1;
    if ((!size || !fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0)) &&
        (!mode || !fsconfig(context, FSCONFIG_SET_STRING, "mode", mode, 0)) &&
        !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        mount_fd = fsmount(context, FSMOUNT_CLOEXEC, attrs);
    close(context);
    return mount_fd;
}

static int attach(int mount_fd, const char *target) {
    if (mount_fd < 0)
        return -1;
    int failed = move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    close(mount_fd);
    return failed;
}

/* Any directory will do as a place for the new root: nobody else sees this mount namespace. */
static int mount_root(void) {
    int mount_fd = new_filesystem("tmpfs", "1048576", "0755", PRIVATE_ATTRS);
    if (mount_fd < 0)
        return -1;
    int failed = move_mount(mount_fd, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) || fchdir(mount_fd);
    close(mount_fd);
    return failed;
}

static int bind_usr(void) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | PRIVATE_ATTRS};
    int tree = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0 || mkdir("usr", 0755) || mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr))
        return -1;
    return attach(tree, "usr");
}

static int make_links(void) {
    return symlink("usr/bin", "bin") || symlink("usr/lib", "lib") || symlink("usr/lib64", "lib64") ||
           symlink("usr/sbin", "sbin");
}

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    size_t length = strlen(text);
    int failed = write(fd, text, length) != (ssize_t)length;
    close(fd);
    return failed;
}

static int write_etc(void) {
    return mkdir("etc", 0755) ||
           write_file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
                                    "jail:x:1000:1000:jail:/home/jail:/bin/sh\n") ||
           write_file("etc/group", "root:x:0:\njail:x:1000:\n") ||
           write_file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 jail\n") ||
           write_file("etc/hostname", "jail\n");
}

static int mount_tmp(void) {
    return mkdir("tmp", 0755) || attach(new_filesystem("tmpfs", TMPFS_SIZE, "1777", PRIVATE_ATTRS), "tmp");
}

static int mount_proc(void) {
    return mkdir("proc", 0755) || attach(new_filesystem("proc", NULL, NULL, PRIVATE_ATTRS | MOUNT_ATTR_NOEXEC), "proc");
}

/* A user namespace may not make device nodes: bind those of the host. */
static int bind_devices(void) {
    static const char *const nodes[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                        "/dev/random", "/dev/urandom", "/dev/tty"};
    if (mkdir("dev", 0755) || attach(new_filesystem("tmpfs", "65536", "0755", DEVICE_ATTRS), "dev"))
        return -1;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        const char *target = nodes[i] + 1;
        int tree = open_tree(AT_FDCWD, nodes[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (write_file(target, "") || attach(tree, target))
            return -1;
    }
    return symlink("/proc/self/fd", "dev/fd") || symlink("/proc/self/fd/0", "dev/stdin") ||
           symlink("/proc/self/fd/1", "dev/stdout") || symlink("/proc/self/fd/2", "dev/stderr");
}

static int mount_shm(void) {
    return mkdir("dev/shm", 0755) ||
           attach(new_filesystem("tmpfs", TMPFS_SIZE, "1777", PRIVATE_ATTRS | MOUNT_ATTR_NOEXEC), "dev/shm");
}

/* With both names ".", the old root is left mounted over the new one, and "." still names it. */
static int pivot(void) {
    return (int)syscall(SYS_pivot_root, ".", ".");
}

static int detach_old_root(void) {
    return umount2(".", MNT_DETACH) || chdir("/");
}

static int seal_root(void) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    return mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof attr);
}

static int set_hostname(void) {
    return sethostname("jail", 4);
}

static int loopback_up(void) {
    if (!world.with_network)
        return 0;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int failed = fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request);
    if (fd >= 0)
        close(fd);
    return failed;
}

static int set_rlimits(void) {
    static const struct {
        int resource;
        rlim_t value;
    } limits[] = {{RLIMIT_CPU, 3600},      {RLIMIT_NPROC, 512},     {RLIMIT_NOFILE, 1024},
                  {RLIMIT_FSIZE, 1 << 30}, {RLIMIT_STACK, 8 << 20}, {RLIMIT_CORE, 0}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit both = {limits[i].value, limits[i].value};
        if (prlimit(0, (__rlimit_resource_t)limits[i].resource, &both, NULL))
            return -1;
    }
    return 0;
}

/* EINVAL is the kernel's way to say that the last capability has been passed. */
static int drop_bounding_set(void) {
    for (unsigned long capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
            return errno != EINVAL;
    return 0;
}

/* Leaving uid 0 clears the permitted and effective capabilities. */
static int become_jail_user(void) {
    return setresgid(JAIL_USER, JAIL_USER, JAIL_USER) || setresuid(JAIL_USER, JAIL_USER, JAIL_USER) ||
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int close_descriptors(void) {
    return close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
}

static int hold(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || eventfd_write(world.ready_event, 1))
        return -1;
    for (;;)
        pause();
}

static int execute(void) {
    if (world.hold)
        return hold();
    return execve(world.program[0], world.program, environment);
}

static int enter_live(void) {
    return setns(world.live_pidfd, WITHOUT_PID) || setgroups(0, NULL);
}

#define VIEW_OF_FILES                                                                                          \
    {"propagation private", make_private}, {"tmpfs root", mount_root}, {"bind /usr read-only", bind_usr},      \
        {"links", make_links}, {"files of /etc", write_etc}, {"tmpfs /tmp", mount_tmp}, {"/proc", mount_proc}, \
        {"/dev and six devices", bind_devices}, {"tmpfs /dev/shm", mount_shm}, {"pivot_root", pivot},          \
        {"detach old root", detach_old_root}, {"root read-only", seal_root}, {"hostname", set_hostname}, {     \
        "loopback up", loopback_up                                                                             \
    }

const struct step cold_steps[] = {
    {"wait for id maps", wait_for_maps},
    {"become root of the jail", become_jail_root},
    VIEW_OF_FILES,
    {"rlimits", set_rlimits},
    {"drop bounding set", drop_bounding_set},
    {"user and no_new_privs", become_jail_user},
    {"close_range", close_descriptors},
    {"execve", execute},
    {0},
};

/* A cold jail with all walls that jailkit gives it. */
const struct step walled_steps[] = {
    {"wait for id maps", wait_for_maps},
    {"become root of the jail", become_jail_root},
    {"join the control group", join_group},
    VIEW_OF_FILES,
    {"Landlock", landlock},
    {"session", new_session},
    {"outputs", take_outputs},
    {"rlimits", set_rlimits},
    {"drop bounding set", drop_bounding_set},
    {"user and no_new_privs", become_jail_user},
    {"close_range", close_descriptors},
    {"filter of system calls", filter_calls},
    {"execve", execute},
    {0},
};

/* PID 1 of a live jail with all walls ... */
const struct step served_steps[] = {
    {"wait for id maps", wait_for_maps},
    {"become root of the jail", become_jail_root},
    {"join the control group", join_group},
    VIEW_OF_FILES,
    {"drop bounding set", drop_bounding_set},
    {"Landlock", landlock},
    {"filter of system calls", filter_calls},
    {"serve programs", serve_programs},
    {0},
};

/* ... and a program in it. */
const struct step asked_steps[] = {
    {"outputs", take_outputs},
    {"close_range", close_descriptors},
    {"session", new_session},
    {"rlimits", set_rlimits},
    {"user and no_new_privs", become_jail_user},
    {"execve", execute},
    {0},
};

const struct step enter_steps[] = {
    {"setns", enter_live},
    {"rlimits", set_rlimits},
    {"drop bounding set", drop_bounding_set},
    {"user and no_new_privs", become_jail_user},
    {"close_range", close_descriptors},
    {"execve", execute},
    {0},
};

const struct step vfork_steps[] = {
    {"execve", execute},
    {0},
};

const struct step ask_steps[] = {
    {"execve", execute},
    {0},
};

void run_steps(const struct step *steps) {
    for (int i = 0; steps[i].name; i++) {
        /* The start of a step is marked, not its end: a successful execve does not come back. */
        world.report->mark[i] = now();
        if (steps[i].run()) {
            world.report->failed_step = i;
            world.report->error = errno;
            _exit(126);
        }
    }
    _exit(126);
}
