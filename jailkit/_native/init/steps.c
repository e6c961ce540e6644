/* steps.c: the loop over a plan. Every failure is fatal and has an address: phase, step, errno. */
#include "jail.h"

static const struct {
    step_function *run;
    int fills_slot; /* `slot` is what the step makes, not what it uses */
} table[] = {
    [JK_OP_CLONE] = {birth, 0},
    [JK_OP_RELEASE] = {step_release, 0},
    [JK_OP_JOIN] = {step_join, 0},
    [JK_OP_UNSHARE] = {step_unshare, 0},
    [JK_OP_GIVE] = {step_give, 0},
    [JK_OP_TAKE] = {step_take, 0},
    [JK_OP_IDMAP] = {step_idmap, 0},
    [JK_OP_PROC_WRITE] = {step_proc_write, 0},
    [JK_OP_NEWIDMAP] = {step_newidmap, 0},
    [JK_OP_USERNS] = {step_userns, 1},
    [JK_OP_SETIDS] = {step_setids, 0},
    [JK_OP_PROPAGATION] = {step_propagation, 0},
    [JK_OP_OPEN_TREE] = {step_open_tree, 1},
    [JK_OP_OPENAT] = {step_openat, 1},
    [JK_OP_SETATTR] = {step_setattr, 0},
    [JK_OP_FSOPEN] = {step_fsopen, 1},
    [JK_OP_FSCONFIG] = {step_fsconfig, 0},
    [JK_OP_FSMOUNT] = {step_fsmount, 1},
    [JK_OP_ATTACH] = {step_attach, 0},
    [JK_OP_MASK] = {step_mask, 0},
    [JK_OP_MKDIR] = {step_mkdir, 0},
    [JK_OP_CHOWN] = {step_chown, 0},
    [JK_OP_TARGET] = {step_target, 0},
    [JK_OP_SYMLINK] = {step_symlink, 0},
    [JK_OP_FILE] = {step_file, 0},
    [JK_OP_WRITE] = {step_write, 0},
    [JK_OP_CHECK_DEVICE] = {step_check_device, 0},
    [JK_OP_CHECK_FS] = {step_check_fs, 0},
    [JK_OP_FCHDIR] = {step_fchdir, 0},
    [JK_OP_PIVOT_ROOT] = {step_pivot_root, 0},
    [JK_OP_UMOUNT] = {step_umount, 0},
    [JK_OP_CHDIR] = {step_chdir, 0},
    [JK_OP_SETHOSTNAME] = {step_sethostname, 0},
    [JK_OP_LOOPBACK] = {step_loopback, 0},
    [JK_OP_CAP_BOUND] = {step_cap_bound, 0},
    [JK_OP_PRCTL] = {step_prctl, 0},
    [JK_OP_KEEP_PROC] = {step_keep_proc, 0},
};

static int slot_ok(int slot) {
    return slot == JK_NONE || (slot >= 0 && slot < JK_SLOTS);
}

/* A plan comes from the host program, but a wrong one must not become a wild pointer in a process with rights. */
int plan_check(const struct jk_plan *plan, uint64_t size) {
    if (size < sizeof *plan || size > UINT32_MAX || plan->size != size || plan->abi != JK_ABI)
        return -EINVAL;
    uint64_t count = (uint64_t)plan->host_steps + plan->jail_steps;
    if (count > (size - sizeof *plan) / sizeof(struct jk_step) || ((const char *)plan)[size - 1] != 0)
        return -EINVAL;
    const struct jk_step *steps = (const struct jk_step *)(plan + 1);
    for (const struct jk_step *s = steps; s < steps + count; s++) {
        if (s->op == 0 || s->op >= sizeof table / sizeof *table || !slot_ok(s->slot) || !slot_ok(s->at))
            return -EINVAL;
        if (s->path >= size || s->text > size || s->text_size > size - s->text)
            return -EINVAL;
        if (table[s->op].fills_slot && s->slot == JK_NONE)
            return -EINVAL;
    }
    return 0;
}

static int run_step(struct jail *j, const struct jk_step *s) {
    int fills = table[s->op].fills_slot;
    int absent = s->at >= 0 && j->slot[s->at] == SLOT_ABSENT;
    if (absent || (!fills && s->slot >= 0 && j->slot[s->slot] == SLOT_ABSENT)) {
        if (fills)
            j->slot[s->slot] = SLOT_ABSENT;
        return 0;
    }
    int result = table[s->op].run(j, s);
    if (result == -ENOENT && (s->how & JK_STEP_OPTIONAL)) {
        if (fills)
            j->slot[s->slot] = SLOT_ABSENT;
        return 0;
    }
    if (result == -EEXIST && (s->how & JK_STEP_KEEP))
        return 0;
    if (fills && result >= 0)
        j->slot[s->slot] = result;
    return result < 0 ? result : 0;
}

int run_steps(struct jail *j, int phase, uint32_t from, uint32_t to) {
    const struct jk_step *steps = (const struct jk_step *)(j->plan + 1);
    for (uint32_t n = from; n < to; n++) {
        int result = run_step(j, steps + n);
        if (result < 0) {
            struct jk_report failed = {JK_REPORT_FAILED, phase, (int)n, -result, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
            send_report(JK_CTL_FD, &failed, -1);
            return result;
        }
    }
    return 0;
}
