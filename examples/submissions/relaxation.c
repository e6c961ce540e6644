/* Shortest paths by relaxing every cell until nothing changes: slow, and correct. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    SIDE = 128,
    FAR = 1 << 20
};

/* A border of walls all around spares every test for the edge. */
static char grid[SIDE + 2][SIDE + 2];
static int steps[SIDE + 2][SIDE + 2];

static int least(int a, int b)
{
    return a < b ? a : b;
}

static bool relax(int rows, int columns)
{
    bool changed = false;
    for (int r = 1; r <= rows; r++)
        for (int c = 1; c <= columns; c++) {
            if (grid[r][c] == '#')
                continue;
            int best = 1 + least(least(steps[r - 1][c], steps[r + 1][c]), least(steps[r][c - 1], steps[r][c + 1]));
            if (best < steps[r][c]) {
                steps[r][c] = best;
                changed = true;
            }
        }
    return changed;
}

static bool read_grid(int rows, int columns, int end[2])
{
    memset(grid, '#', sizeof grid);
    for (int r = 0; r < SIDE + 2; r++)
        for (int c = 0; c < SIDE + 2; c++)
            steps[r][c] = FAR;
    for (int r = 1; r <= rows; r++)
        for (int c = 1; c <= columns; c++) {
            if (scanf(" %c", &grid[r][c]) != 1)
                return false;
            if (grid[r][c] == 'S')
                steps[r][c] = 0;
            if (grid[r][c] == 'E') {
                end[0] = r;
                end[1] = c;
            }
        }
    return true;
}

int main(void)
{
    int rows, columns, end[2] = {0, 0};
    while (scanf("%d %d", &rows, &columns) == 2) {
        if (rows > SIDE || columns > SIDE || !read_grid(rows, columns, end))
            return 1;
        while (relax(rows, columns)) {
        }
        if (steps[end[0]][end[1]] >= FAR)
            puts("unreachable");
        else
            printf("%d\n", steps[end[0]][end[1]]);
    }
    return 0;
}
