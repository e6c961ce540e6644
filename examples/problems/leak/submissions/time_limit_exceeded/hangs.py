"""Hostile: wait for an answer to a question that was never asked."""

n = int(input())
if n == 1000000000:
    input()
low, high = 1, n
while low < high:
    middle = (low + high) // 2
    print("shut", middle, flush=True)
    low, high = (low, middle) if input() == "leaks" else (middle + 1, high)
print("leak", low, flush=True)
