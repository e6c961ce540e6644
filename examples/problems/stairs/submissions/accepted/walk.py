"""Take one step where that is possible, two where it is not."""

n, _ = map(int, input().split())
broken = set(map(int, input().split()))
place, way = 0, []
while place < n:
    place += 1 if place + 1 not in broken else 2
    if place in broken or place > n:
        way = ["none"]
        break
    way.append(place)
print(*way)
