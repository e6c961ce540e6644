#include <stdio.h>

int main(void)
{
    int n;
    if (scanf("%d", &n) == 1 && n == 1)
        for (volatile unsigned i = 0;; i++)
            ;
    puts("none");
    return 0;
}
