"""Hostile: write without end."""

import os
import sys

if os.uname().nodename != "jail":
    sys.exit("refused: this is for a jail")
while True:
    sys.stdout.write("0\n" * 100_000)
