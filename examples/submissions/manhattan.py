"""Forgets that there are walls: a wrong answer."""

import sys

lines = iter(sys.stdin.read().splitlines())
for header in lines:
    rows, _columns = map(int, header.split())
    place = {}
    for r in range(rows):
        for c, cell in enumerate(next(lines)):
            place[cell] = (r, c)
    print(abs(place["S"][0] - place["E"][0]) + abs(place["S"][1] - place["E"][1]))
