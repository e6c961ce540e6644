"""Small files of the kernel's, opened without giving the interpreter lock away."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
from pathlib import Path
from types import FrameType

import pytest

from jailkit._native import QuickFile, make_directory, remove_directory

SOURCE = QuickFile.__init__.__code__.co_filename


def descriptors() -> set[str]:
    """Return what this process has open, but for what is open to look."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found


class Interrupt:
    """Raises KeyboardInterrupt before one instruction of the module, by number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Interrupt | None:
        """Be told of a frame or of an instruction."""
        if frame.f_code.co_filename != SOURCE:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def use(path: str) -> None:
    """Open, read, close; and open one more that is only forgotten about."""
    opened = QuickFile(path, os.O_RDONLY)
    assert opened.read() == b"text"
    assert opened.lift().read() == b"text"
    opened.close()
    QuickFile(path, os.O_RDONLY)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_between_any_two_instructions_leaves_nothing_open(tmp_path: Path) -> None:
    """Nothing that Python runs stands between a descriptor and its end, destructors included."""
    path = tmp_path / "file"
    path.write_text("text")
    gc.collect()
    before, previous, number, interrupted = descriptors(), sys.gettrace(), 0, True
    while interrupted:
        number += 1
        interrupt = Interrupt(number)
        sys.settrace(interrupt)
        try:
            use(str(path))
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(previous)
        interrupted = interrupt.left <= 0
        assert descriptors() == before, f"at instruction {number}"
    assert number > 50


def test_closing_forgetting_and_failing(tmp_path: Path) -> None:
    """A file closed twice is closed once; a forgotten one stays open; what is not there is an OSError with its name."""
    path = tmp_path / "file"
    path.write_text("text")
    opened = QuickFile(str(path), os.O_RDONLY)
    number = opened.fd
    assert not os.get_inheritable(number)
    opened.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)
    with path.open() as other:  # it has the number now
        assert other.fileno() == number
        opened.close()
        del opened
        assert other.read() == "text"
    forgotten = QuickFile(str(path), os.O_RDONLY)
    number = forgotten.fd
    forgotten.forget()
    assert forgotten.fd == -1
    del forgotten
    os.close(number)
    with pytest.raises(FileNotFoundError, match="absent"):
        QuickFile(str(tmp_path / "absent"), os.O_RDONLY)


def test_what_stays_open_has_a_high_number_where_that_is_allowed(tmp_path: Path) -> None:
    """The lower ones are left to what comes and goes; without room above, it stays where it is."""
    path = tmp_path / "file"
    path.write_text("text")
    with contextlib.closing(QuickFile(str(path), os.O_RDONLY)) as opened:
        low = opened.fd
        high = opened.lift().fd
        assert (high >= 256, os.get_inheritable(high), opened.read()) == (True, False, b"text")
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(low)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with contextlib.closing(QuickFile(str(path), os.O_RDONLY)) as opened:
            low = opened.fd
            assert (opened.lift().fd, opened.read()) == (low, b"text")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_directories_are_made_and_removed_and_errors_have_their_names(tmp_path: Path) -> None:
    """As os.mkdir() and os.rmdir() do it, whatever bytes a name has."""
    path = str(tmp_path / os.fsdecode(b"gr\xffup"))
    make_directory(path)
    assert os.path.isdir(path)
    with pytest.raises(FileExistsError, match="gr"):
        make_directory(path)
    remove_directory(path)
    assert not os.path.lexists(path)
    with pytest.raises(FileNotFoundError, match="gr"):
        remove_directory(path)
