"""Hostile: claim points, and break the validator with output that is no text."""

import sys

try:
    with open("/feedback/score.txt", "w") as file:
        file.write("100")
except OSError:
    pass
sys.stdout.buffer.write(b"\xff\xfe 1 -1 \x00" + b"9" * 5000)
