"""Writes files until there is no room, wherever it may write."""

import errno
import os
import sys

# The limit belongs to the jail; this guard, and the ceiling below, protect the disk of a reader who
# starts the file by hand.
if "JAILKIT_DEMO" not in os.environ:
    print("refused: not started by the demo, so perhaps not in a jail", file=sys.stderr)
    sys.exit(2)

MIB = 1 << 20
CEILING = 128  # MiB for each directory: four times the demo's limit


def fill(directory):
    total = 0
    try:
        while total < CEILING * MIB:
            # The demo looks for files of this name on the host afterwards.
            name = f"jailkit-demo-{os.environ['JAILKIT_DEMO']}-{total}"
            with open(os.path.join(directory, name), "wb", buffering=0) as file:
                total += file.write(bytes(MIB))
    except OSError as error:
        return total, errno.errorcode[error.errno]
    return total, "ESCAPED: no limit"


ends = {directory: fill(directory) for directory in ("/tmp", os.getcwd(), "/dev/shm", "/var/tmp", "/")}
total = sum(written for written, _ in ends.values()) // MIB
print(f"{total} MiB in all: " + ", ".join(f"{where} {written // MIB} {end}" for where, (written, end) in ends.items()))
