"""Hostile: a fork bomb, which the limit of processes lets burn out."""

import os
import sys

if os.uname().nodename != "jail":
    sys.exit("refused: this is for a jail")
children = 0
while True:
    try:
        if os.fork() == 0:
            continue
        children += 1
    except OSError:
        sys.exit(1)
