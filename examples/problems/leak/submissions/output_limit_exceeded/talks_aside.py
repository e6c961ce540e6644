"""Hostile: say nothing to the validator, and no end of things to stderr."""

import sys

while True:
    sys.stderr.write("is it here? " * 5_000)
