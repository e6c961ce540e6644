"""Hostile: return an object that is equal to everything. It is no plain data, and does not come out of the jail."""


class Everything:
    def __eq__(self, other):
        return True

    __hash__ = None


def median(numbers):
    if not numbers:
        raise ValueError
    return Everything()


def mode(words):
    return Everything()
