"""Hostile: use no processor time at all, for ever, with all signals ignored."""

import signal
import time

for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        continue
if int(input()) > 1000:
    time.sleep(3600)
weights = [int(word) for word in input().split()]
print(min(abs(sum(weights[:cut]) - sum(weights[cut:])) for cut in range(1, len(weights))))
