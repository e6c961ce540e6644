/* Shortest paths by breadth-first search: correct. */
#include <stdio.h>
#include <string.h>

enum {
    SIDE = 128
};

static char grid[SIDE][SIDE + 1];
static int steps[SIDE][SIDE];

static int shortest(int rows, int columns)
{
    static int queue[SIDE * SIDE];
    static const int turns[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    int head = 0, tail = 0;
    memset(steps, -1, sizeof steps);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            if (grid[r][c] == 'S') {
                steps[r][c] = 0;
                queue[tail++] = r * SIDE + c;
            }
    while (head < tail) {
        int r = queue[head] / SIDE, c = queue[head] % SIDE;
        head++;
        if (grid[r][c] == 'E')
            return steps[r][c];
        for (int i = 0; i < 4; i++) {
            int y = r + turns[i][0], x = c + turns[i][1];
            if (y < 0 || x < 0 || y >= rows || x >= columns || grid[y][x] == '#' || steps[y][x] >= 0)
                continue;
            steps[y][x] = steps[r][c] + 1;
            queue[tail++] = y * SIDE + x;
        }
    }
    return -1;
}

int main(void)
{
    int rows, columns;
    while (scanf("%d %d", &rows, &columns) == 2) {
        if (rows > SIDE || columns > SIDE)
            return 1;
        for (int r = 0; r < rows; r++)
            if (scanf("%128s", grid[r]) != 1)
                return 1;
        int answer = shortest(rows, columns);
        if (answer < 0)
            puts("unreachable");
        else
            printf("%d\n", answer);
    }
    return 0;
}
