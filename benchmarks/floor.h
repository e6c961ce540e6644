/* What the two halves of the floor program share: the parent measures, the child takes the steps.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#define STEPS_MAX 32

/* All namespaces but the one of processes, which a process cannot enter itself, only its children.
 */
#define WITHOUT_PID (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)

/* One system call, or a few that belong together; returns 0, or not 0 with errno set. */
struct step {
    const char *name;
    int (*run)(void);
};

/* In memory that both share: where the child got to, when, and what stopped it. */
struct report {
    int64_t mark[STEPS_MAX];
    int failed_step;
    int error;
};

struct world {
    struct report *report;
    char *const *program;
    int go_event;    /* parent to child: the id maps are written */
    int ready_event; /* child to parent: the live jail stands */
    int live_pidfd;
    int asked; /* the socket of the process that is asked for programs */
    bool with_network;
    bool hold; /* the child stays as the live jail instead of running the program */
};

extern struct world world;
extern const struct step cold_steps[], enter_steps[], vfork_steps[], ask_steps[];

int64_t now(void);
int start_asked(const struct step *steps);
int ask(int sock);
__attribute__((noreturn)) void run_steps(const struct step *steps);

#endif
