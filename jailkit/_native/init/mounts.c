/* mounts.c: the new mount API (mount_setattr(2), open_tree(2), fsopen(2), move_mount(2)), one step a call. */
#include "jail.h"

#define DETACHED (MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)

int step_propagation(struct jail *j, const struct jk_step *s) {
    struct mount_attr attr = {.propagation = s->value};
    return (int)SYS(mount_setattr, AT_FDCWD, plan_text(j, s->path), AT_RECURSIVE, &attr, sizeof attr);
}

int step_open_tree(struct jail *j, const struct jk_step *s) {
    return (int)SYS(open_tree, slot_fd(j, s->at), plan_text(j, s->path), s->flags | OPEN_TREE_CLOEXEC);
}

int step_openat(struct jail *j, const struct jk_step *s) {
    return open_inside(slot_fd(j, s->at), plan_text(j, s->path), s->flags);
}

int step_setattr(struct jail *j, const struct jk_step *s) {
    struct mount_attr attr = {.attr_set = s->value & UINT32_MAX, .attr_clr = s->value >> 32};
    if (s->at != JK_NONE)
        attr.userns_fd = (uint64_t)j->slot[s->at];
    return (int)SYS(mount_setattr, slot_fd(j, s->slot), "", AT_EMPTY_PATH | s->flags, &attr, sizeof attr);
}

int step_fsopen(struct jail *j, const struct jk_step *s) {
    return (int)SYS(fsopen, plan_text(j, s->path), FSOPEN_CLOEXEC);
}

int step_fsconfig(struct jail *j, const struct jk_step *s) {
    const char *key = s->path ? plan_text(j, s->path) : 0;
    const char *value = s->text ? plan_text(j, s->text) : 0;
    int command = !key ? FSCONFIG_CMD_CREATE : value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
    return (int)SYS(fsconfig, slot_fd(j, s->slot), command, key, value, 0);
}

int step_fsmount(struct jail *j, const struct jk_step *s) {
    return (int)SYS(fsmount, slot_fd(j, s->at), FSMOUNT_CLOEXEC, s->value);
}

int step_attach(struct jail *j, const struct jk_step *s) {
    const char *path = plan_text(j, s->path);
    int target = s->at == JK_NONE ? (int)SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0)
                                  : open_inside(j->slot[s->at], path, O_PATH);
    if (target < 0)
        return target;
    int error = (int)SYS(move_mount, slot_fd(j, s->slot), "", target, "", DETACHED);
    close_fd(target);
    return error;
}

int step_mask(struct jail *j, const struct jk_step *s) {
    int target = open_inside(slot_fd(j, s->at), plan_text(j, s->path), O_PATH);
    if (target < 0) /* nothing there, nothing to hide */
        return target == -ENOENT ? 0 : target;
    int copy = (int)SYS(open_tree, slot_fd(j, s->slot), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    int error = copy < 0 ? copy : (int)SYS(move_mount, copy, "", target, "", DETACHED);
    close_fd(copy);
    close_fd(target);
    return error;
}

int step_check_device(struct jail *j, const struct jk_step *s) {
    struct stat info;
    long error = SYS(fstat, slot_fd(j, s->slot), &info);
    if (error < 0)
        return (int)error;
    return S_ISCHR(info.st_mode) && info.st_rdev == s->value ? 0 : -ENODEV;
}

int step_check_fs(struct jail *j, const struct jk_step *s) {
    struct statfs info;
    long error = SYS(fstatfs, slot_fd(j, s->slot), &info);
    if (error < 0)
        return (int)error;
    return (uint64_t)info.f_type == s->value ? 0 : -ENODEV;
}

int step_fchdir(struct jail *j, const struct jk_step *s) {
    return (int)SYS(fchdir, slot_fd(j, s->slot));
}

int step_pivot_root(struct jail *j, const struct jk_step *s) {
    (void)j, (void)s;
    return (int)SYS(pivot_root, ".", ".");
}

int step_umount(struct jail *j, const struct jk_step *s) {
    return (int)SYS(umount2, plan_text(j, s->path), s->flags);
}

int step_chdir(struct jail *j, const struct jk_step *s) {
    return (int)SYS(chdir, plan_text(j, s->path));
}

int step_keep_proc(struct jail *j, const struct jk_step *s) {
    j->proc = slot_fd(j, s->slot);
    return 0;
}
