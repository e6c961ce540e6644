"""An input is valid when it is as the statement says, to the space. Exit code 42: it is."""

import re
import sys

text = sys.stdin.read()
if not re.fullmatch(r"[1-9]\d{0,4}\n([1-9]\d{0,6} )*[1-9]\d{0,6}\n", text):
    sys.exit("not two lines of numbers")
n, *loaves = map(int, text.split())
if not (2 <= n <= 50_000 and len(loaves) == n and max(loaves) <= 10**6):
    sys.exit("a number is out of its bounds")
sys.exit(42)
