"""Looks for the processes of others, in /proc and with kill()."""

import os

others = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) not in (1, os.getpid())]
try:
    # Signal 0 reaches nobody, even outside a jail: the kernel only says whether somebody is there.
    # Process 1 and the caller are left out by kill(-1) itself.
    os.kill(-1, 0)
    reached = "somebody"
except ProcessLookupError:
    reached = "nobody"
except PermissionError:
    reached = "nobody it may signal"
verdict = "" if not others and reached == "nobody" else "ESCAPED: "
print(f"{verdict}sees {len(others)} others, can signal {reached}")
