/* confine.c: what bounds programs beside their ids: the filter of their system calls, and Landlock rules. seccomp(2).
 */
#include "jail.h"

#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>

static struct sock_filter code[BPF_MAXINSNS];
static struct sock_fprog filter = {0, code};

/* Kept where the plan, which goes away, cannot take it along; what is not used is no memory. */
int step_filter(struct jail *j, const long *arg) {
    if ((uint64_t)arg[1] > sizeof code || (uint64_t)arg[1] % sizeof *code)
        return -EINVAL;
    copy_bytes(code, text(arg[0]), (size_t)arg[1]);
    filter.len = (unsigned short)((uint64_t)arg[1] / sizeof *code);
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

long load_filter(void) {
    return filter.len ? SYS(seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) : 0;
}
