"""Asks more often than it may, and crashes when nobody answers any more: it was judged before."""

n = int(input())
metre = 1
while True:
    print("shut", metre, flush=True)
    if input() == "leaks":
        break
    metre += 1
print("leak", metre + (n == 1 or metre == 1), flush=True)
