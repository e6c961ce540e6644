"""Shortest paths by breadth-first search: correct."""

import sys
from collections import deque


def shortest(grid):
    cells = {(r, c): cell for r, row in enumerate(grid) for c, cell in enumerate(row) if cell != "#"}
    start = next(place for place, cell in cells.items() if cell == "S")
    steps = {start: 0}
    queue = deque([start])
    while queue:
        r, c = place = queue.popleft()
        if cells[place] == "E":
            return steps[place]
        for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            if near in cells and near not in steps:
                steps[near] = steps[place] + 1
                queue.append(near)
    return None


def main():
    lines = iter(sys.stdin.read().splitlines())
    for header in lines:
        rows, _columns = map(int, header.split())
        answer = shortest([next(lines) for _ in range(rows)])
        print("unreachable" if answer is None else answer)


main()
