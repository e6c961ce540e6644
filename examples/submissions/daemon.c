/* Leaves a daemon behind: own session, no open files, deaf to signals. Its minute is bounded for
 * the sake of those who start the program by hand. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        for (int number = 1; number < NSIG; number++)
            signal(number, SIG_IGN);
        for (int descriptor = 0; descriptor < 256; descriptor++)
            close(descriptor);
        sleep(60);
        _exit(0);
    }
    puts("gone, with a daemon behind");
    return 0;
}
