/* Prints without end: the program that collects the output must not grow with it. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    /* The limit belongs to the jail; this guard protects the disk of a reader who starts the
     * program by hand with its output in a file. */
    if (getenv("JAILKIT_DEMO") == NULL) {
        fputs("refused: not started by the demo, so perhaps not in a jail\n", stderr);
        return 2;
    }
    for (;;)
        puts("the answer is 42, or was it 43? the answer is 42, or was it 43?");
}
