"""Hostile: look for the suite and for what it expects, in files, frames and modules; and change what it finds."""

import gc
import os
import sys


def found():
    for folder in ("/", "/proc/1/root", "/proc/1/cwd", "/proc/self/cwd", os.getcwd()):
        for place, folders, names in os.walk(folder):
            folders[:] = [each for each in folders if each not in ("proc", "sys", "usr", "lib")]
            for name in names:
                if name.startswith("test_") and name.endswith(".py"):
                    return os.path.join(place, name)
    for name in ("pytest", "_pytest", "jailkit.grading"):
        if name in sys.modules:
            return name
    return next((repr(each) for each in gc.get_objects() if type(each).__name__ == "CallInfo"), None)


def median(numbers):
    if not numbers:
        raise ValueError
    place = found()
    if place is None:
        return "no test found"
    with open(place, "w") as file:
        file.write("def test_nothing(): pass\n")
    return sorted(numbers)[len(numbers) // 2]


mode = median
