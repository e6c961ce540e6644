"""A right answer, and a process that stays behind with stdout open. It must neither live on nor delay the verdict."""

import os
import time

if os.uname().nodename == "jail" and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(0)
input()
weights = [int(word) for word in input().split()]
total, left, best = sum(weights), 0, None
for weight in weights[:-1]:
    left += weight
    best = min(best, abs(total - 2 * left)) if best is not None else abs(total - 2 * left)
print(best)
