"""Hostile: kill everything that can be seen, the validator and the judge first."""

import os
import signal

if os.uname().nodename == "jail":
    for number in range(1, 5000):
        try:
            if number != os.getpid():
                os.kill(number, signal.SIGKILL)
        except OSError:
            continue
print("leak 0", flush=True)
