/* What the two halves of the floor program share: the parent measures, the child takes the steps.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#define STEPS_MAX 32

enum { REQUEST = 700, ANSWER = 328 }; /* bytes, as jailkit's are */

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
    int asked;          /* the socket of the process that is asked for programs */
    int join;           /* version 1: a file to write to; version 2: the directory of the group */
    const char *groups; /* where control groups are made */
    bool unified;
    bool with_network;
    bool hold; /* the child stays as the live jail instead of running the program */
};

extern struct world world;
extern const struct step cold_steps[], enter_steps[], vfork_steps[], ask_steps[];
extern const struct step walled_steps[], served_steps[], asked_steps[];

int64_t now(void);
int start_asked(const struct step *steps);
/* Of a process that is asked: what it hears of the end of programs by, and how it starts one. */
int ends_of_programs(void);
int start_program(const struct step *steps);
int ask(int sock);

/* The walls (floor_walls.c): what the child does ... */
int join_group(void);
int landlock(void);
int filter_calls(void);
int take_outputs(void);
int new_session(void);
int serve_programs(void);
/* ... and what the parent does. */
int load_filter(const char *path);
int make_group(void);
int account(void);
int remove_group(void);
int open_streams(void);
int hear_streams(void);
int ask_for_program(int sock);

__attribute__((noreturn)) void run_steps(const struct step *steps);

#endif
