/* Doubles itself until fork() fails, and then goes on trying. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Far above the demo's limit of 64 processes, so that the limit is what stops it. */
enum {
    CEILING = 2000
};

int main(void)
{
    /* The limit belongs to the jail; this guard, and the ceiling, protect the machine of a reader
     * who starts the program by hand. */
    if (getenv("JAILKIT_DEMO") == NULL) {
        fputs("refused: not started by the demo, so perhaps not in a jail\n", stderr);
        return 2;
    }
    /* Shared by all descendants: how many were born, and whether one has told of a failure. */
    atomic_int *shared = mmap(NULL, 2 * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    atomic_int *born = &shared[0], *said = &shared[1];
    while (atomic_load(born) < CEILING) {
        pid_t child = fork();
        if (child > 0)
            atomic_fetch_add(born, 1);
        if (child >= 0)
            continue;
        if (atomic_exchange(said, 1) == 0)
            dprintf(1, "%d children, then: %s\n", atomic_load(born), strerror(errno));
        usleep(10000); /* a bomb of busy loops would test the scheduler instead */
    }
    if (atomic_exchange(said, 1) == 0)
        dprintf(1, "ESCAPED: %d children and no limit\n", atomic_load(born));
    sleep(10);
    return 0;
}
