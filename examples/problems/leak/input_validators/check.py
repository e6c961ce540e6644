"""An input is valid when the leak is in the pipe. Exit code 42: it is."""

import re
import sys

text = sys.stdin.read()
if not re.fullmatch(r"[1-9]\d{0,9} [1-9]\d{0,9}\n", text):
    sys.exit("not a line of two numbers")
n, leak = map(int, text.split())
if not 1 <= leak <= n <= 10**9:
    sys.exit("the leak is not in the pipe, or the pipe is too long")
sys.exit(42)
