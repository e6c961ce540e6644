"""Asks for what only the superuser gets."""

import ctypes
import os
import socket
import stat
import sys
import time

# What is refused in the jail would succeed for a reader who starts the file as root.
if "JAILKIT_DEMO" not in os.environ:
    print("refused: not started by the demo, so perhaps not in a jail", file=sys.stderr)
    sys.exit(2)


def mount():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


ATTEMPTS = {
    "setuid": lambda: os.setuid(0),
    "setgid": lambda: os.setgid(0),
    "chroot": lambda: os.chroot("/tmp"),
    "sethostname": lambda: socket.sethostname("owned"),
    "mknod": lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0)),
    "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "mount": mount,
}

granted = []
for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        granted.append(name)
    except OSError:
        pass
print("ESCAPED: granted " + ", ".join(granted) if granted else f"refused {len(ATTEMPTS)} of {len(ATTEMPTS)}")
