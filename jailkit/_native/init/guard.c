/*
 * guard.c: a jail without namespaces, whose end is nobody's but PID 1's (docs/decisions/0009).
 *
 * PID 1 is in a Landlock domain that scopes signals. In it kill(-1) means: all that is in this domain or in one within
 * it, but not the caller; and it happens under the kernel's lock on the list of processes, so that no fork is faster.
 * For each program there is a guard in a domain within that of PID 1, and the program is in a domain within the
 * guard's: it reaches neither. The guard ends what the program has started, on the order of PID 1 or when PID 1 is
 * gone.
 */
#include "serve.h"

#include <signal.h>

int pid1;

/* The host program has our user: that it cannot be signalled is the proof that kill(-1) stays in the jail. */
long use_guards(void) {
    pid1 = (int)SYS(getpid);
    int host = (int)SYS(getppid);
    return SYS(kill, host, 0) == 0 ? -EXDEV : 0;
}

/* All signals are blocked since before the exec of jailkit-init. */
static void guard(void *unused) {
    const uint64_t order = 1ull << (SIGTERM - 1);
    SYS(close_range, 0, ~0u, 0); /* the host hears of the end of PID 1 by the end of its socket */
    SYS(prctl, PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    while (SYS(getppid) == pid1 && SYS(rt_sigtimedwait, &order, 0, 0, sizeof order) != SIGTERM)
        ;
    SYS(kill, -1, SIGKILL);
    SYS(exit_group, 0);
}

/* Meanwhile PID 1 waits (CLONE_VFORK): nothing can be stopped by a program as long as it is in no domain of one. */
static void begin(void *told) {
    struct run *run = told;
    run->pid = (int)SYS(landlock_restrict_self, PROC, 0);
    if (run->pid == 0)
        run->pid = run->guard = (int)clone_on(CLONE_VM | CLONE_PARENT, stack_of(run) - STACK - 4096, 0, guard, 0);
    if (run->pid > 0)
        give_birth(run, CLONE_PARENT);
    SYS(exit_group, 0);
}

long start_guarded(struct run *run) {
    long error = clone_on(CLONE_VM | CLONE_VFORK | SIGCHLD, stack_of(run) - STACK, 0, begin, run);
    if (error > 0 && run->pid > 0)
        return 0;
    end_tree(run);
    return error < 0 ? error : run->pid < 0 ? run->pid : -ECHILD;
}

void end_tree(struct run *run) {
    tree_kill(PROC, run->mark); /* nothing without a mark */
    if (run->guard > 0 && SYS(kill, run->guard, SIGTERM) == 0)
        SYS(wait4, run->guard, 0, __WALL, 0);
    run->guard = 0;
}

void end_jail(int code) {
    if (pid1) /* orphans are our children: with the last one nothing is left */
        for (SYS(kill, -1, SIGKILL); SYS(wait4, -1, 0, __WALL, 0) > 0;)
            ;
    leave(code);
}
