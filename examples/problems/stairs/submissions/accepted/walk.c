#include <stdio.h>

static char broken[100003];
static int way[100001];

int main(void)
{
    int n, count, place = 0, length = 0;
    if (scanf("%d %d", &n, &count) != 2)
        return 1;
    while (count-- > 0) {
        int step;
        if (scanf("%d", &step) != 1)
            return 1;
        broken[step] = 1;
    }
    while (place < n) {
        place += broken[place + 1] ? 2 : 1;
        if (place > n || broken[place]) {
            puts("none");
            return 0;
        }
        way[length++] = place;
    }
    for (int i = 0; i < length; i++)
        printf("%d\n", way[i]);
    return 0;
}
