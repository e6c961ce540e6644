/* Starts threads until the kernel gives no more: a limit on processes must count threads too. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Far above the demo's limit of 64, so that the limit is what stops it. */
enum {
    CEILING = 2000,
    STACK = 64 * 1024
};

static void *idle(void *unused)
{
    sleep(60);
    return unused;
}

int main(void)
{
    /* The limit belongs to the jail; this guard, and the ceiling, protect the machine of a reader
     * who starts the program by hand. */
    if (getenv("JAILKIT_DEMO") == NULL) {
        fputs("refused: not started by the demo, so perhaps not in a jail\n", stderr);
        return 2;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    /* Small stacks: with the usual 8 MiB each, the limit on address space would answer first. */
    pthread_attr_setstacksize(&small, STACK);
    for (int count = 0; count < CEILING; count++) {
        pthread_t thread;
        int error = pthread_create(&thread, &small, idle, NULL);
        if (error != 0) {
            printf("%d threads, then: %s\n", count, strerror(error));
            return 1;
        }
    }
    printf("ESCAPED: %d threads and no limit\n", CEILING);
    return 0;
}
