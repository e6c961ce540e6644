/* Hostile: take all the memory there is. */
#include <stdlib.h>
#include <string.h>

int main(void) {
    for (;;) {
        char *more = malloc(1 << 20);
        memset(more, 'x', 1 << 20);
    }
}
