"""Ends at once, but leaves a child behind that sleeps and holds its output open.

Whoever reads until end of file waits for the child. The sleep is bounded, for those who start it by hand.
"""

import os
import time

if os.fork() == 0:
    time.sleep(60)
else:
    print("gone, with a child on the line")
