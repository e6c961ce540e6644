/* Writes one file that is larger than the limit on the size of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In MiB; twice the demo's limit, so that the limit is what stops it. */
enum {
    CEILING = 16,
    MIB = 1 << 20
};

int main(void)
{
    /* The limit belongs to the jail; this guard, and the ceiling, protect the disk of a reader who
     * starts the program by hand. */
    if (getenv("JAILKIT_DEMO") == NULL) {
        fputs("refused: not started by the demo, so perhaps not in a jail\n", stderr);
        return 2;
    }
    static char block[MIB];
    memset(block, 'x', sizeof block);
    FILE *file = fopen("huge", "wb");
    if (file == NULL)
        return 1;
    for (int i = 0; i < CEILING; i++)
        if (fwrite(block, sizeof block, 1, file) != 1)
            return 1;
    printf("ESCAPED: wrote %d MiB\n", CEILING);
    return 0;
}
