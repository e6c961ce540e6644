/* Right for short rows; never ends for long ones. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    static long weight[50000];
    long total = 0, left = 0, best = -1;
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    if (n > 1000)
        for (volatile unsigned i = 0;; i++)
            ;
    for (int i = 0; i < n; i++) {
        if (scanf("%ld", &weight[i]) != 1)
            return 1;
        total += weight[i];
    }
    for (int i = 0; i < n - 1; i++) {
        left += weight[i];
        if (best < 0 || labs(total - 2 * left) < best)
            best = labs(total - 2 * left);
    }
    printf("%ld\n", best);
    return 0;
}
