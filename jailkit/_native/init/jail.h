/*
 * jail.h: what the parts of jailkit-init know of each other.
 *
 *     entry.c     _start, without a C library
 *     main.c      the host phase, the birth of PID 1, the jail phase
 *     steps.c     the table of step codes and the loop over a plan
 *     paths.c     files made or found inside a root that may be hostile
 *     mounts.c    steps of the mount API
 *     identity.c  steps about ids, capabilities and names
 *     serve.c     PID 1 at work: requests, orphans, reports
 *     confine.c   the filter of system calls, Landlock
 *     program.c   one program, from its birth to its exec
 *     stack.c     how it is born
 *     tree.c      ending all that one program has started
 *     guard.c     the same, and the end of the jail, without namespaces
 *
 * Every function returns 0 (or a descriptor) or -errno. Nothing here decides anything: what happens, and in which
 * order, stands in the plan.
 */
#pragma once

#include "sys.h"

enum { SLOT_UNUSED = -1, SLOT_ABSENT = -2, CHANNEL_FD = JK_CTL_FD };

struct jail {
    const struct jk_plan *plan;
    uint32_t id_base; /* first id of the jail's own range, where the plan uses one */
    int pid;          /* PID 1 of the jail, in the numbers of the process that reads this */
    int gate[2];      /* a socket pair: PID 1 listens at [0] to the host phase at [1] */
    int released;
    int kept[3]; /* the procfs in which PID 1 finds programs, what holds all that the jail can write, and a signalfd
                  * that tells of their end */
    int slot[JK_SLOTS];
};

/* The arguments of a step, looked up: pointers into the plan, descriptors, numbers. */
typedef int step_function(struct jail *j, const long *arg);

static inline const char *text(long argument) {
    return (const char *)argument;
}

/* main.c */
int send_report(int sock, const struct jk_report *report, int passed_fd);
int receive_message(int sock, void *bytes, size_t size, int *fds, int most);
step_function step_clone, step_release, step_give, step_take;

/* steps.c */
int plan_check(const struct jk_plan *plan, uint64_t size);
int run_steps(struct jail *j, int phase, uint32_t from, uint32_t to);

/* paths.c */
int open_inside(int root, const char *path, uint64_t flags);
int write_all(int fd, const char *bytes, uint64_t size);
step_function step_mkdir, step_target, step_symlink, step_file, step_write, step_find;

/* mounts.c */
step_function step_setattr, step_attach, step_mask, step_check_device;

/* identity.c */
step_function step_idmap, step_proc_write, step_newidmap, step_userns, step_cap_bound;

/* confine.c */
extern int kept_filters, inherited_filters; /* of the first so many PID 1 loads, and programs inherit them */
long load_filters(int from, int to);
step_function step_filter, step_landlock_rule;

/* serve.c, program.c, stack.c, tree.c */
struct launch { /* all that a program needs between its birth and its exec, where PID 1 does not touch it */
    const struct jk_request *request;
    const char **vectors; /* room for candidates, argv and envp, each with its NULL */
    int channel, stdio[3], exec_pipe, joins[JK_JOINS];
    int filtered; /* so many filters it has inherited */
    int rules;    /* what it puts itself under where there are no namespaces, or -1 */
};
extern struct stat own_file; /* the program of PID 1: no other may execute it, or open it */
step_function step_prepare;
__attribute__((noreturn)) void serve(const struct jail *j);
__attribute__((noreturn)) void program(void *launch);
long clone_on(unsigned long flags, void *stack_end, int *pidfd, void (*run)(void *), void *argument);
int tree_hold(int proc, uint64_t *mark);
void tree_kill(int proc, uint64_t mark);
