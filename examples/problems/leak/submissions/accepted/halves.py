"""Halve the pipe."""

low, high = 1, int(input())
while low < high:
    middle = (low + high) // 2
    print("shut", middle, flush=True)
    if input() == "leaks":
        high = middle
    else:
        low = middle + 1
print("leak", low, flush=True)
