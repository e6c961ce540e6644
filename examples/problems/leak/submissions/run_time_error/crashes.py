"""Crashes in the middle of the talk: that is no wrong answer."""

n = int(input())
print("shut", 1, flush=True)
input()
raise RuntimeError("enough")
