"""Hostile: end the interpreter with exit code 0 before any test is run."""

import os


def median(numbers):
    os._exit(0)


def mode(words):
    raise SystemExit(0)
