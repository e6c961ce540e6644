/* A semicolon is missing, and so is the declaration of `answer`. */
#include <stdio.h>

int main(void) {
    printf("%d\n", answer)
    return 0;
}
