"""Hostile: look for the answers everywhere, and print the first one that is found."""

import os

for folder in ("/judge", "/submission", "/proc/1/cwd", "/proc/1/root", "/home", "/tmp", "/root", "/srv", "/var"):
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".ans") or name == "answer":
                with open(os.path.join(place, name)) as file:
                    print(file.read())
                raise SystemExit
print("no answer found")
