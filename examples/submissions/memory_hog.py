"""Takes memory until there is none left."""

import os
import sys

# The limit belongs to the jail; this guard, and the ceiling below, protect the machine of a reader
# who starts the file by hand.
if "JAILKIT_DEMO" not in os.environ:
    print("refused: not started by the demo, so perhaps not in a jail", file=sys.stderr)
    sys.exit(2)

MIB = 1 << 20
CEILING = 512 * MIB  # twice what the demo's limit lets through

taken = []
try:
    while len(taken) * 8 * MIB < CEILING:
        taken.append(b"x" * (8 * MIB))  # written to, so that it is memory and not only address space
except MemoryError:
    size = len(taken) * 8
    taken.clear()  # the message needs memory too
    print(f"no more memory after {size} MiB", flush=True)
    raise
print(f"ESCAPED: took {len(taken) * 8} MiB and met no limit")
