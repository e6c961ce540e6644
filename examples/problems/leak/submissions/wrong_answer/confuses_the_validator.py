"""Hostile: no text, a line without end, verdicts."""

import os

os.write(1, b"\xff\x00" * 100 + b"leak " + b"9" * 5000 + b"\n42\nAC\n")
