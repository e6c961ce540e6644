"""What removes the control groups of a host program that was killed: nobody else would.

A jail ends with its host program, whatever ends that; but a directory of cgroupfs has no owner that dies. So the first
group that a host program makes starts a small shell in the background, which waits until the program is gone and then
removes the groups with its number in their names. It is no child of the host program (``wait`` does not see it), holds
nothing of it open, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Sequence

__all__ = ["PREFIX", "keeper", "look_after"]

PREFIX = "jailkit-"
"""With the process id of the host program behind it: who made a group, and who may sweep it away."""

_IN_BACKGROUND = """
trap '' HUP INT TERM QUIT
exec 3<&0 </dev/null >/dev/null 2>&1
{
%s
} &
"""

# The directories come line by line; the end of the file is the end of the host program. `rmdir` takes only empty
# groups, so what lives on for a moment is tried again, for ten seconds.
_SCRIPT = """
prefix=$1
shift
while read -r line <&3; do set -- "$@" "$line"; done
tries=0
while [ $tries -lt 100 ]; do
    left=0
    for top in "$@"; do
        for group in "$top/$prefix"*; do
            [ -d "$group" ] || continue
            rmdir "$group"/*/ "$group" 2>/dev/null
            [ -d "$group" ] && left=1
        done
    done
    [ $left = 0 ] && exit 0
    tries=$((tries + 1))
    sleep 0.1
done
"""

_lock = threading.Lock()
_known: set[str] = set()
_pipe = -1


def look_after(directories: tuple[str, ...]) -> None:
    """Have our groups in these directories removed when this process is gone, and sweep what others have left."""
    if _known.issuperset(directories):
        return
    with _lock:
        for directory in directories:
            if directory not in _known:
                _sweep(directory)
                _tell(directory)
                _known.add(directory)


def _tell(directory: str) -> None:
    global _pipe  # noqa: PLW0603 - one for each process, as the janitor is
    if _pipe < 0:
        _pipe = keeper(_SCRIPT, f"{PREFIX}{os.getpid()}-")
    if _pipe >= 0 and "\n" not in directory:
        with contextlib.suppress(OSError):  # without its janitor a program works; after its death the next one sweeps
            os.write(_pipe, os.fsencode(directory) + b"\n")


def keeper(script: str, *words: str, keep: Sequence[int] = ()) -> int:
    """Start a shell in the background that outlives this process, and is no child of it.

    Args:
        script: What it does. Descriptor 3 ends when this process is gone.
        words: Its arguments.
        keep: Descriptors that it gets beside, under their numbers, which are not 3.

    Returns:
        The end of the pipe that holds it back: to write lines to, and to keep open. -1: it could not be started.
    """
    ours = theirs = -1
    try:
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        done = subprocess.run(
            ["/bin/sh", "-c", _IN_BACKGROUND % script, "jailkit", *words],
            stdin=theirs,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
            timeout=10,
            check=False,
            pass_fds=keep,
        )
        if done.returncode == 0:
            ours, kept = -1, ours
            return kept
    except (OSError, subprocess.SubprocessError):
        pass
    finally:
        for fd in (theirs, ours):
            if fd >= 0:
                os.close(fd)
    return -1


def _sweep(directory: str) -> None:
    """Remove the groups of host programs that are gone and had no janitor that lived to do it."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for name in [entry.name for entry in entries]:
            match = re.fullmatch(rf"{PREFIX}(\d+)-\d+", name)
            if match and not os.path.exists(f"/proc/{match[1]}"):
                _remove_empty(f"{directory}/{name}")


def _remove_empty(path: str) -> None:
    """Without patience: if anything lives in it, it is not ours to end."""
    with contextlib.suppress(OSError):
        with os.scandir(path) as entries:
            inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in inner:
            os.rmdir(name)
        os.rmdir(path)


def _forget() -> None:
    """After a fork, in the child: it has its own number, its own groups, and later its own janitor."""
    global _pipe, _lock  # noqa: PLW0603 - the parent's lock may be held by a thread that does not exist here
    _lock = threading.Lock()
    _known.clear()
    if _pipe >= 0:
        os.close(_pipe)
        _pipe = -1


os.register_at_fork(after_in_child=_forget)
