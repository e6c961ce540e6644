"""Shortest paths by A* with the Manhattan distance as its estimate: correct."""

import heapq
import sys


def find(grid, letter):
    return next((r, row.index(letter)) for r, row in enumerate(grid) if letter in row)


def shortest(grid):
    start, end = find(grid, "S"), find(grid, "E")

    def estimate(place):
        return abs(place[0] - end[0]) + abs(place[1] - end[1])

    best = {start: 0}
    heap = [(estimate(start), start)]
    while heap:
        _, (r, c) = heapq.heappop(heap)
        steps = best[r, c]
        if (r, c) == end:
            return steps
        for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            inside = 0 <= near[0] < len(grid) and 0 <= near[1] < len(grid[0])
            if inside and grid[near[0]][near[1]] != "#" and steps + 1 < best.get(near, 10**9):
                best[near] = steps + 1
                heapq.heappush(heap, (steps + 1 + estimate(near), near))
    return None


def main():
    lines = iter(sys.stdin.read().splitlines())
    for header in lines:
        rows, _columns = map(int, header.split())
        answer = shortest([next(lines) for _ in range(rows)])
        print("unreachable" if answer is None else answer)


main()
