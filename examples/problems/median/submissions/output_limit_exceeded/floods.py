"""Hostile: print without end."""

import os

if os.uname().nodename != "jail":
    raise SystemExit("refused: this is for a jail")


def median(numbers):
    while True:
        print("0" * 100_000)


mode = median
