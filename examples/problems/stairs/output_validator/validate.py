"""Accept every way that keeps the rules. Exit code 42: accepted, 43: wrong."""

import sys

ACCEPTED, WRONG = 42, 43


def wrong(why):
    with open(sys.argv[3] + "judgemessage.txt", "w") as file:
        file.write(why + "\n")
    sys.exit(WRONG)


with open(sys.argv[1]) as file:
    n, _ = map(int, file.readline().split())
    broken = set(map(int, file.readline().split()))
with open(sys.argv[2]) as file:
    possible = file.read().strip() != "none"
said = sys.stdin.buffer.read().split()
if said == [b"none"]:
    if possible:
        wrong("there is a way")
    sys.exit(ACCEPTED)
if not all(word.isdigit() and len(word) < 10 for word in said):
    wrong("not a list of steps")
way = [0, *map(int, said)]
if not possible:
    wrong("there is no way")
if len(way) < 2 or way[-1] != n:
    wrong("the way does not end at the top")
for before, after in zip(way, way[1:]):
    if after - before not in (1, 2):
        wrong(f"from {before} to {after} in one go")
    if after in broken:
        wrong(f"step {after} is broken")
sys.exit(ACCEPTED)
