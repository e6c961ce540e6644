"""Makes a filter shorter: what it costs to load one is mostly its length, about a quarter of a microsecond a word.

The filter is taken for a graph. Ends that say the same become one, questions whose answer is known are left out, and so
is whatever nobody gets to. What happens to a call is the same.
"""

from __future__ import annotations

import struct

__all__ = ["shorter"]

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_JUMP_EQ, _JUMP_GE, _JUMP_GT, _JUMP_SET = 0x15, 0x35, 0x25, 0x45
_CONDITIONAL = (_JUMP_EQ, _JUMP_GE, _JUMP_GT, _JUMP_SET)
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_X32 = 0x4000_0000
_FAR = 255  # a conditional jump goes no further

_Code = list[tuple[int, int, int, int]]


def shorter(code: bytes, *, head: int, architecture: int) -> bytes:
    """Return a filter that does the same in fewer words.

    Args:
        code: An array of ``struct sock_filter``, of the instructions that jailkit and libseccomp write.
        head: How many words at its beginning stay as they are, and make sure of the architecture.
        architecture: Which, and that the number is one of its own calls, is known behind the head.
    """
    words = list(_INSTRUCTION.iter_unpack(code))
    ways = _ways(words, head, architecture)
    return b"".join(_INSTRUCTION.pack(*word) for word in _written(words, ways, head))


def _ways(words: _Code, head: int, architecture: int) -> list[int]:
    """Say for each place where one really gets from there."""
    ways = list(range(len(words)))
    ends: dict[int, int] = {}
    for place in reversed(range(head, len(words))):  # no jump goes back
        operation, _, _, constant = words[place]
        if operation == _RETURN:
            ways[place] = ends.setdefault(constant, place)
        elif operation == _JUMP:
            ways[place] = ways[place + 1 + constant]
        elif (known := _known(words, place, architecture)) is not None and words[ways[known]][0] in (_LOAD, _RETURN):
            ways[place] = ways[known]  # where nobody asks what was loaded
    return ways


def _known(words: _Code, place: int, architecture: int) -> int | None:
    """Return where a question leads whose answer is known, or None."""
    if words[place][0] != _LOAD or place + 2 >= len(words):
        return None
    offset, (first, yes, no, constant) = words[place][3], words[place + 1]
    if (offset, first, constant) == (_ARCHITECTURE, _JUMP_EQ, architecture):
        return place + 2 + yes
    if (offset, first, constant) == (_NUMBER, _JUMP_GE, _X32):
        return place + 2 + no
    if (first, constant) == (_AND, 0) and words[place + 2][0] == _JUMP_EQ:  # no bit of this half counts
        return place + 3 + (words[place + 2][1] if words[place + 2][3] == 0 else words[place + 2][2])
    return None


def _reached(words: _Code, ways: list[int]) -> set[int]:
    found, ahead = set(), [ways[0]]
    while ahead:
        place = ahead.pop()
        if place not in found:
            found.add(place)
            operation, yes, no, _ = words[place]
            steps = (yes, no) if operation in _CONDITIONAL else () if operation == _RETURN else (0,)
            ahead += [ways[place + 1 + step] for step in steps]
    return found


def _written(words: _Code, ways: list[int], head: int) -> _Code:
    """Write what is reached, from the end to the beginning, so that each jump knows how far it goes."""
    backwards: _Code = []
    places: dict[int, int] = {}  # how many words from the end

    def bring(target: int, room: int) -> None:
        """Have a target within so many words; where it is not, what is put in between is as good from then on."""
        ahead = len(backwards) - places[target]
        if ahead > room:
            backwards.append(words[target] if words[target][0] == _RETURN else (_JUMP, 0, 0, ahead))
            places[target] = len(backwards)

    for place in sorted(_reached(words, ways) | set(range(head)), reverse=True):
        operation, yes, no, constant = words[place]
        if operation in _CONDITIONAL:
            bring(ways[place + 1 + yes], _FAR - 1)
            bring(ways[place + 1 + no], _FAR)
            yes, no = (len(backwards) - places[ways[place + 1 + step]] for step in (yes, no))
        elif operation != _RETURN:
            bring(ways[place + 1], 0)
        backwards.append((operation, yes, no, constant))
        places[place] = len(backwards)
    return backwards[::-1]
