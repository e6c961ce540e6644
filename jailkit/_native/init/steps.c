/* steps.c: the loop over a plan. Every failure is fatal and has an address: phase, step, errno. */
#include "jail.h"

static step_function *const table[] = {
    [JK_OP_CLONE] = step_clone,         [JK_OP_RELEASE] = step_release,
    [JK_OP_GIVE] = step_give,           [JK_OP_TAKE] = step_take,
    [JK_OP_IDMAP] = step_idmap,         [JK_OP_PROC_WRITE] = step_proc_write,
    [JK_OP_NEWIDMAP] = step_newidmap,   [JK_OP_USERNS] = step_userns,
    [JK_OP_SETATTR] = step_setattr,     [JK_OP_ATTACH] = step_attach,
    [JK_OP_MASK] = step_mask,           [JK_OP_MKDIR] = step_mkdir,
    [JK_OP_TARGET] = step_target,       [JK_OP_SYMLINK] = step_symlink,
    [JK_OP_FILE] = step_file,           [JK_OP_WRITE] = step_write,
    [JK_OP_FIND] = step_find,           [JK_OP_CHECK_DEVICE] = step_check_device,
    [JK_OP_CAP_BOUND] = step_cap_bound, [JK_OP_PREPARE] = step_prepare,
    [JK_OP_FILTER] = step_filter,       [JK_OP_LANDLOCK_RULE] = step_landlock_rule,
};

/* Which of its arguments a step reads itself, so that a wrong one would be a wild pointer: t: text, s: the size of the
 * text before, u: two lines of an id map. */
static const char *const reads[sizeof table / sizeof *table] = {
    [JK_OP_IDMAP] = "tts",  [JK_OP_PROC_WRITE] = "tts", [JK_OP_NEWIDMAP] = "tts", [JK_OP_USERNS] = ".u",
    [JK_OP_ATTACH] = "..t", [JK_OP_MASK] = "..t",       [JK_OP_MKDIR] = ".t",     [JK_OP_TARGET] = ".t",
    [JK_OP_SYMLINK] = ".t", [JK_OP_FILE] = ".t.ts",     [JK_OP_WRITE] = ".tts",   [JK_OP_FIND] = ".t",
    [JK_OP_FILTER] = "ts",
};

static int step_ok(const struct jk_step *s, uint64_t size) {
    int known = s->op == JK_OP_CALL || (s->op < sizeof table / sizeof *table && table[s->op]);
    const char *next = known ? reads[s->op] : 0;
    for (int n = 0; known && n < 6; n++) {
        char read = next && *next ? *next++ : '.';
        int is_text = s->kind[n] == JK_TEXT;
        if (s->kind[n] > JK_SLOT || (s->kind[n] != JK_NUMBER && s->arg[n] >= (is_text ? size : JK_SLOTS)))
            return 0;
        if ((is_text && s->arg[n] % 8) || ((read == 't' || read == 'u') && !is_text))
            return 0;
        if (read == 'u' && size - s->arg[n] < 2 * sizeof(struct jk_idmap))
            return 0;
        if (read == 's' && (s->kind[n] != JK_NUMBER || s->arg[n] > size - s->arg[n - 1]))
            return 0;
    }
    return known && s->slot >= JK_NONE && s->slot < JK_SLOTS;
}

/* A plan comes from the host program, but a wrong one must not become a wild pointer in a process with rights. (Its
 * system calls are its own: it runs with no rights but those of who wrote it.) */
int plan_check(const struct jk_plan *plan, uint64_t size) {
    if (size < sizeof *plan || size > UINT32_MAX || plan->size != size || plan->abi != JK_ABI)
        return -EINVAL;
    uint64_t count = (uint64_t)plan->host_steps + plan->jail_steps;
    if (count > (size - sizeof *plan) / sizeof(struct jk_step) || ((const char *)plan)[size - 1] != 0)
        return -EINVAL;
    const struct jk_step *steps = (const struct jk_step *)(plan + 1);
    for (const struct jk_step *s = steps; s < steps + count; s++)
        if (!step_ok(s, size))
            return -EINVAL;
    return 0;
}

/* Look the arguments up; 1 if one of them is a slot that an optional step has left empty. */
static int look_up(const struct jail *j, const struct jk_step *s, long *arg) {
    int absent = 0;
    for (int n = 0; n < 6; n++) {
        arg[n] = (long)s->arg[n];
        if (s->kind[n] == JK_TEXT)
            arg[n] = (long)((const char *)j->plan + s->arg[n]);
        if (s->kind[n] == JK_SLOT)
            arg[n] = j->slot[s->arg[n]];
        absent |= s->kind[n] == JK_SLOT && arg[n] == SLOT_ABSENT;
    }
    return absent;
}

static int run_step(struct jail *j, const struct jk_step *s) {
    long arg[6], result = -ENOENT;
    int optional = s->how & JK_STEP_OPTIONAL;
    if (look_up(j, s, arg))
        optional = 1;
    else if (s->op == JK_OP_CALL)
        result = sys6(s->number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
    else
        result = table[s->op](j, arg);
    if (result == -EEXIST && (s->how & JK_STEP_KEEP))
        return 0;
    if (result == -ENOENT && optional)
        result = SLOT_ABSENT;
    else if (result < 0)
        return (int)result;
    if (s->slot != JK_NONE)
        j->slot[s->slot] = (int)result;
    return 0;
}

int run_steps(struct jail *j, int phase, uint32_t from, uint32_t to) {
    const struct jk_step *steps = (const struct jk_step *)(j->plan + 1);
    for (uint32_t n = from; n < to; n++) {
        int result = run_step(j, steps + n);
        if (result < 0) {
            struct jk_report failed = {.kind = JK_REPORT_FAILED, .phase = phase, .step = (int)n, .error = -result};
            send_report(JK_CTL_FD, &failed, -1);
            return result;
        }
    }
    return 0;
}
