"""The words of a plan: a step for each thing that is done, with the reason it is there."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

__all__ = ["Step", "file_system", "step", "way_to"]


@attrs.frozen(kw_only=True)
class Step:
    """One thing that ``jailkit-init`` does, most often one system call.

    Attributes:
        op: What is done: the name of a system call, or of a small group of them.
        why: The reason, for `explain` and for the reader of an error.
        slot: Name of the descriptor that the step makes or works on.
        at: Name of the descriptor that `path` is relative to, or of a second one.
        path: A path, or the name that the call takes.
        text: Bytes to write, a link's text, or the entries of an id map.
        flags: Names of the kernel's constants, or a number.
        value: The same.
        optional: That the thing does not exist is no error.
        keep: That it exists already is no error.
    """

    op: str
    why: str
    slot: str | None = None
    at: str | None = None
    path: str = ""
    text: bytes = b""
    flags: int | tuple[str, ...] = 0
    value: int | tuple[str, ...] = 0
    optional: bool = False
    keep: bool = False


def step(
    op: str,
    why: str,
    *,
    slot: str | None = None,
    at: str | None = None,
    path: str = "",
    text: bytes = b"",
    flags: int | tuple[str, ...] = 0,
    value: int | tuple[str, ...] = 0,
    optional: bool = False,
    keep: bool = False,
) -> Step:
    """Make a `Step`, the reason in second place, where it cannot be forgotten."""
    return Step(
        op=op,
        why=why,
        slot=slot,
        at=at,
        path=path,
        text=text,
        flags=flags,
        value=value,
        optional=optional,
        keep=keep,
    )


def file_system(
    kind: str, why: str, *, slot: str, options: tuple[tuple[str, str], ...] = (), attributes: tuple[str, ...] = ()
) -> Iterator[Step]:
    """Make a new file system, as yet unattached: fsopen(2), fsconfig(2), fsmount(2)."""
    context = f"{slot}.fs"
    yield step("fsopen", why, slot=context, path=kind)
    for key, text in options:
        op = "fsconfig" if text else "fsconfig_flag"
        yield step(op, why, slot=context, path=key, text=text.encode())
    yield step("fsconfig_create", why, slot=context)
    yield step("fsmount", why, slot=slot, at=context, value=attributes)


def way_to(path: str, *, at: str) -> Iterator[Step]:
    """Make the directories above a path inside a root, as far as they are missing."""
    parts = path.split("/")
    for number in range(1, len(parts)):
        way = "/".join(parts[:number])
        yield step("mkdir", f"on the way to /{path}", at=at, path=way, value=0o755, keep=True)
