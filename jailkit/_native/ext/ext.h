#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../abi.h"
#include "../ext.h"

static inline void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* messages.c */
int jk_memory_file(const char *bytes, uint64_t size);
int jk_send(int sock, const void *bytes, uint64_t size, const int *fds, int count);
/* 1: a report, and perhaps a descriptor, which is the caller's; 0: end of file, or nonsense, which is no better. */
int jk_take(int sock, struct jk_report *report, int *passed_fd);
int jk_receive(int sock, struct jk_report *report, int *passed_fd, int timeout_ms);

/* run.c */
int jk_keep(struct jk_run *run, const struct jk_report *report);
