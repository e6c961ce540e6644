#include <stdio.h>

int main(void)
{
    long low = 1, high;
    char word[10];
    if (scanf("%ld", &high) != 1)
        return 1;
    while (low < high) {
        long middle = (low + high) / 2;
        printf("shut %ld\n", middle);
        fflush(stdout);
        if (scanf("%9s", word) != 1)
            return 1;
        if (word[0] == 'l')
            high = middle;
        else
            low = middle + 1;
    }
    printf("leak %ld\n", low);
    return 0;
}
