"""Hostile: write until there is no room."""

import os
import sys

if os.uname().nodename != "jail":
    sys.exit("refused: this is for a jail")
number = 0
while True:
    with open(f"/tmp/{number}", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    number += 1
