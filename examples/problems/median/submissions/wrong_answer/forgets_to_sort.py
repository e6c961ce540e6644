"""Takes the middle of the list as it is."""


def median(numbers):
    if not numbers:
        raise ValueError
    return numbers[len(numbers) // 2]


def mode(words):
    return max(words, key=words.count)
