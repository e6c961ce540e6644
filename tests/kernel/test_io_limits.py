"""Limits of I/O hold on a disk of the tests' own: a file as a loop device, with a file system on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import UNLIMITED, Bind, Jail, KiB, Limits, MiB, _cgroups
from tests.inside import inside, program, public_directory

pytestmark = pytest.mark.requires("root", "userns", "python", "cgroups", "blkio", "loop")

WRITE = """
import mmap
pages = mmap.mmap(-1, 1 << 16)
fd = os.open("/disk/file", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
began = time.monotonic()
for _ in range(16):
    os.write(fd, pages)
say(time.monotonic() - began)
"""
"""Seconds for 1 MiB past the page cache, in 16 requests: version 1 accounts for no others."""


def _run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A disk that limits of I/O are for: where it is mounted, and its number."""
    with public_directory() as top, contextlib.ExitStack() as stack:
        image = f"{top}/image"
        with open(image, "wb") as file:
            file.truncate(32 * MiB)
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal", image)
        device = _run("losetup", "--find", "--show", image)
        stack.callback(_run, "losetup", "--detach", device)
        os.mkdir(f"{top}/disk")
        _run("mount", "-t", "ext4", device, f"{top}/disk")
        stack.callback(_run, "umount", f"{top}/disk")
        os.chmod(f"{top}/disk", 0o777)
        number = os.stat(device).st_rdev
        name = f"{os.major(number)}:{os.minor(number)}"
        monkeypatch.setattr(_cgroups, "_devices", lambda: (name,))
        _cgroups._found.cache_clear()
        stack.callback(_cgroups._found.cache_clear)
        yield f"{top}/disk", name


def settings(jail: Jail, name: str) -> dict[str, str]:
    """Return what the kernel holds for a device, by file and, in version 2, by word."""
    assert jail._live is not None
    group = jail._live.ledger.group
    assert group is not None
    found: dict[str, str] = {}
    for directory in group.paths:
        for file in ("blkio.throttle.write_bps_device", "blkio.throttle.write_iops_device", "io.max"):
            with contextlib.suppress(FileNotFoundError), open(f"{directory}/{file}") as lines:
                for words in (line.split() for line in lines):
                    if words[0] == name:
                        found |= dict(word.split("=") for word in words[1:] if "=" in word) or {file: words[1]}
    return found


def test_writes_take_the_time_that_the_limit_says(disk: tuple[str, str]) -> None:
    """A MiB at 256 KiB a second takes seconds, and at once where there is no limit; live, by a change of limits."""
    path, name = disk
    bind = Bind(path, "/disk", writable=True)
    with Jail(limits=Limits(write_bps=256 * KiB, file_size=UNLIMITED), mounts=[bind]) as jail:
        assert set(settings(jail, name).values()) & {str(256 * KiB)}
        slow = inside(jail, WRITE)
        jail.modify(limits=Limits(write_bps=UNLIMITED))
        assert str(256 * KiB) not in settings(jail, name).values()
        # Others use the disk too: at once is what is faster than the limit, in any of many attempts.
        fast = any(inside(jail, WRITE) < slow for _ in range(20))
        jail.limits = Limits(write_bps=512 * KiB)
        assert str(512 * KiB) in settings(jail, name).values()
        again = inside(jail, WRITE)
    assert slow > 2.5
    assert again > 1
    assert fast


def test_operations_are_counted_too(disk: tuple[str, str]) -> None:
    """Sixteen requests at eight a second take more than a second, however small they are."""
    path, name = disk
    with Jail(limits=Limits(write_iops=8), mounts=[Bind(path, "/disk", writable=True)]) as jail:
        assert "8" in settings(jail, name).values()
        assert inside(jail, WRITE) > 1


def test_what_is_read_and_written_is_counted(disk: tuple[str, str]) -> None:
    """Past the page cache, of a program alone in its jail: a MiB each way at least; who writes nothing has none."""
    path, _ = disk
    read_too = "assert sum(os.preadv(fd, [pages], at << 16) for at in range(16)) == 1 << 20\n"
    bind = Bind(path, "/disk", writable=True)
    limits = Limits(write_bps=1024 * MiB, file_size=UNLIMITED)
    used = jailkit.run(program(WRITE + read_too), limits=limits, mounts=[bind]).check().usage
    assert used.io_written is not None
    assert used.io_read is not None
    assert min(used.io_written, used.io_read) >= MiB
    assert jailkit.run(["true"], limits=limits, mounts=[bind]).check().usage.io_written == 0
