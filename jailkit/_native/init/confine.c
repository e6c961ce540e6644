/* confine.c: what bounds programs beside their ids: the filter of their system calls, and Landlock rules. seccomp(2).
 */
#include "jail.h"

#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>

static struct sock_filter code[2][BPF_MAXINSNS];
static struct sock_fprog filters[2] = {{0, code[0]}, {0, code[1]}};
int kept_filters, inherited_filters;
static long flags[2];

/* Kept where the plan, which goes away, cannot take it along; what is not used is no memory. */
int step_filter(struct jail *j, const long *arg) {
    if (kept_filters == 2 || (uint64_t)arg[1] > sizeof *code || (uint64_t)arg[1] % sizeof **code)
        return -EINVAL;
    copy_bytes(code[kept_filters], text(arg[0]), (size_t)arg[1]);
    filters[kept_filters].len = (unsigned short)((uint64_t)arg[1] / sizeof **code);
    flags[kept_filters++] = arg[2];
    if (arg[3])
        inherited_filters = kept_filters;
    return 0;
}

/* The number of a descriptor lies in a structure; and a file takes fewer rights than a directory. */
int step_landlock_rule(struct jail *j, const long *arg) {
    struct landlock_path_beneath_attr rule = {.parent_fd = (int)arg[1]};
    struct stat info;
    long error = SYS(fstat, arg[1], &info);
    if (error < 0)
        return (int)error;
    rule.allowed_access = (uint64_t)(S_ISDIR(info.st_mode) ? arg[2] : arg[3]);
    return (int)SYS(landlock_add_rule, arg[0], LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* A filter with a listener, which is a descriptor, leaves sendmsg and seccomp open: the one after it closes them. */
long load_filters(int from, int to) {
    const struct jk_report report = {.kind = JK_REPORT_OPENED, .phase = JK_PHASE_PROGRAM};
    long result = 0;
    for (int n = from; n < to && result >= 0; n++) {
        result = SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags[n], &filters[n]);
        result = result > 0 ? send_report(CHANNEL_FD, &report, (int)result) : result;
    }
    return result;
}
