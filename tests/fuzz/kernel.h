/* kernel.h: a kernel that does nothing, for the parts of jailkit-init that read what others wrote. See kernel.c. */
#pragma once

#include "init/jail.h"

#include <setjmp.h>

struct tape { /* what the kernel answers: one byte for each call; 1 to 133 is an error, anything else a success */
    const uint8_t *bytes;
    size_t size, at;
};
struct message { /* what the next recvmsg(2) gives */
    const uint8_t *bytes, *file;
    size_t size, file_size;
    int fds;
};

enum { TAPE = 16, FIRST_FD = 100, LAST_FD = 1023 };

extern struct tape tape;
extern struct message message;
extern jmp_buf left; /* where exit_group(2) and a successful execve(2) go */

/* How many descriptors are open that this kernel gave. */
int open_descriptors(void);
void close_all(void);
