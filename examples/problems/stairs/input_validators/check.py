"""An input is valid when it is as the statement says; the argument is the highest number of steps. Exit code 42: it is."""

import re
import sys

most = int(sys.argv[1])
text = sys.stdin.read()
if not re.fullmatch(r"[1-9]\d* \d+\n(\d+( \d+)*)?\n", text):
    sys.exit("not two lines of numbers")
n, count, *broken = map(int, text.split())
if not 1 <= n <= most or count != len(broken):
    sys.exit("a number is out of its bounds")
if broken != sorted(set(broken)) or not all(1 <= step <= n for step in broken):
    sys.exit("broken steps come once, in order, and are steps")
sys.exit(42)
