#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    static long weight[50000];
    long total = 0, left = 0, best = -1;
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n; i++) {
        if (scanf("%ld", &weight[i]) != 1)
            return 1;
        total += weight[i];
    }
    for (int i = 0; i < n - 1; i++) {
        left += weight[i];
        long difference = labs(total - 2 * left);
        if (best < 0 || difference < best)
            best = difference;
    }
    printf("%ld\n", best);
    return 0;
}
