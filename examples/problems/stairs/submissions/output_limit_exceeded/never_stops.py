"""Hostile: walk on at the top, for ever."""

while True:
    print(*range(10_000))
