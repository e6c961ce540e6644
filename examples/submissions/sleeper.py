"""Uses no processor time and never answers: only a clock on the wall can stop it."""

import time

time.sleep(3600)
