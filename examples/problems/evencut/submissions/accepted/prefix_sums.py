"""Walk along the row once, with the weight on the left."""

input()
weights = [int(word) for word in input().split()]
total, left, best = sum(weights), 0, None
for weight in weights[:-1]:
    left += weight
    difference = abs(total - 2 * left)
    best = difference if best is None else min(best, difference)
print(best)
