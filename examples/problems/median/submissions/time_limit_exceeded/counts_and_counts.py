"""Never returns from a list of many numbers."""


def median(numbers):
    if not numbers:
        raise ValueError
    while len(numbers) > 1000:
        pass
    numbers = sorted(numbers)
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2


def mode(words):
    return max(words, key=words.count)
