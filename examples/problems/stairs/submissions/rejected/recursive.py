"""Right, but too deep a recursion for the long staircases: 30 points."""

import sys


def walk(place):
    if place == n:
        return []
    for after in (place + 1, place + 2):
        if after <= n and after not in broken:
            rest = walk(after)
            if rest is not None:
                return [after, *rest]
    return None


n, _ = map(int, input().split())
broken = set(map(int, input().split()))
way = walk(0)
print(*way if way is not None else ["none"])
