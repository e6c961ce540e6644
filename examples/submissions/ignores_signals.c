/* Ignores SIGTERM and every other signal that can be ignored. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    puts("try SIGTERM");
    fflush(stdout);
    for (int minutes = 0; minutes < 10; minutes++)
        sleep(60);
    return 0;
}
