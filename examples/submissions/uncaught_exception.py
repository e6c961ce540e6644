"""Crashes the way Python programs do: with a traceback and exit code 1."""

import sys

rows, columns = map(int, sys.stdin.readline().split())
grid = [sys.stdin.readline() for _ in range(rows)]
print(grid[rows][columns])
