"""Hostile: take all the memory there is, in children too."""

import os
import sys

if os.uname().nodename != "jail":
    sys.exit("refused: this is for a jail")
hoard = []
while True:
    hoard.append(bytearray(b"x" * (1 << 22)))
