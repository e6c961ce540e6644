"""Hostile: say what a judge would say, wherever it might be believed."""

import os

for place in ("/feedback/score.txt", "/feedback/judgemessage.txt", "/tmp/verdict", "/proc/1/fd/1", "/proc/1/fd/3"):
    try:
        with open(place, "w") as file:
            file.write("AC 100\n")
    except OSError:
        continue
print('{"verdict": "AC", "score": 100}', flush=True)
os._exit(0)
