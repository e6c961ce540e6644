/* mounts.c: what takes more than one call of the new mount API (mount_setattr(2), open_tree(2), move_mount(2)). */
#include "jail.h"

#define DETACHED (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)

/* A copy of a shared mount is its peer (mount_namespaces(7)): what a jail mounts on it would show up on the host,
 * and a root that is one is refused by pivot_root(2). systemd makes every mount shared. So whatever a plan sets the
 * attributes of, which is each tree that it copies, becomes the jail's alone. */
int step_setattr(struct jail *j, const long *arg) {
    struct mount_attr attr = {.attr_set = (uint64_t)arg[3], .attr_clr = (uint64_t)arg[4], .propagation = MS_PRIVATE};
    if (arg[1] >= 0)
        attr.userns_fd = (uint64_t)arg[1];
    return (int)SYS(mount_setattr, arg[0], "", AT_EMPTY_PATH | arg[2], &attr, sizeof attr);
}

static int attach_at(long mount, int target) {
    int error = target < 0 ? target : (int)SYS(move_mount, mount, "", target, "", DETACHED);
    close_fd(target);
    return error;
}

int step_attach(struct jail *j, const long *arg) {
    return attach_at(arg[0], arg[1] < 0 ? (int)SYS(openat, AT_FDCWD, arg[2], O_PATH | O_CLOEXEC, 0)
                                        : open_inside((int)arg[1], text(arg[2]), O_PATH));
}

int step_mask(struct jail *j, const long *arg) {
    int target = open_inside((int)arg[1], text(arg[2]), O_PATH);
    if (target == -ENOENT) /* nothing there, nothing to hide; a copy made in vain costs a grace period to close */
        return 0;
    int copy = (int)SYS(open_tree, arg[0], "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    int error = copy < 0 ? copy : attach_at(copy, target);
    close_fd(copy);
    return error;
}

int step_check_device(struct jail *j, const long *arg) {
    struct stat info;
    long found = SYS(fstat, arg[0], &info);
    return found == 0 && S_ISCHR(info.st_mode) && info.st_rdev == (uint64_t)arg[1] ? 0 : -ENODEV;
}
