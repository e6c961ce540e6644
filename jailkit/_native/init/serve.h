/* serve.h: the programs of a jail, as PID 1 keeps them. */
#pragma once

#include "jail.h"

#include <linux/mman.h>

enum { STACK = 32768 /* of a program until its exec */ };
enum { CTL = JK_CTL_FD, PROC, SCRATCH, SIGNALS }; /* the descriptors of PID 1, and nothing else */

/* Memory for one program until its exec: what it is told, its vectors, its stack (and that of its guard). */
struct area {
    uint64_t size;
    struct launch launch;
    struct jk_request request; /* and the strings behind it */
};

struct run {
    int pid, channel; /* channel -1: the host has let go of it */
    int guard;        /* who can end all that it has started, without namespaces */
    uint32_t flags;
    int ended;
    uint64_t mark;
    int namespace; /* whose number the mark is */
    struct area *area;
    struct jk_report report;
};

/* Receive one request and start its program; 0 when there is none to keep, 1 when `run` is alive. */
int take_request(struct run *run, int room);
/* Make ready, while nobody waits, what the next program needs. */
long prepare_mark(int proc);
/* Nobody is left who carries the mark of a program that has ended: the next one may have it. */
void keep_mark(struct run *run);
/* Keep it at a descriptor number of at least `from` as well; who calls closes the old one. */
void move_mark(int from);
/* Start its process, as a child of ours or, with CLONE_PARENT, of our parent. */
long give_birth(struct run *run, unsigned long how);
/* The top of its stack. */
static inline char *stack_of(const struct run *run) {
    return (char *)run->area + run->area->size;
}
extern int filtered; /* so many filters PID 1 has loaded */
/* guard.c */
extern int pid1; /* 0 where PID 1 has a pid namespace, with which the kernel ends everything */
long use_guards(void);
long start_guarded(struct run *run);
/* End all that a program has started. */
void end_tree(struct run *run);
/* End PID 1 and everything in the jail. */
__attribute__((noreturn)) void end_jail(int code);
/* Give back what a program needed for its start. It has ended, so it uses none of it. */
void free_run(struct run *run);
