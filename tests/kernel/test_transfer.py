"""`put` and `get`: files go in and come out as the jail's user, and nothing but files."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import Any

import pytest

import jailkit
from jailkit import Bind, Jail, Limits, MiB
from tests.inside import inside
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")


@pytest.mark.parametrize("size", [0, 1, 3 * MiB])
def test_a_file_comes_back_as_it_went(jail: Jail, size: int, tmp_path: Any) -> None:
    """From bytes and from a file of the host; the program sees the same."""
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    jail.put(data, "/tmp/bytes")
    jail.put(tmp_path / "file", "/tmp/path")
    jail.put(str(tmp_path / "file"), "/tmp/text")
    for name in ("bytes", "path", "text"):
        assert jail.get(f"/tmp/{name}") == data
    assert jail.run(["cmp", "/tmp/bytes", "/tmp/path"]).ok


def test_a_file_that_was_put_is_the_user_s(jail: Jail) -> None:
    """Its owner, its mode, and it replaces what was there."""
    jail.put(b"first, and longer", "/tmp/script", mode=0o755)
    jail.put(b"#!/bin/sh\necho ran\n", "/tmp/script", mode=0o755)
    code = "s = os.stat('/tmp/script'); say([s.st_uid == os.getuid(), s.st_mode & 0o777])"
    assert inside(jail, code) == [True, 0o755]
    assert jail.run(["/tmp/script"]).stdout == b"ran\n"
    jail.put(b"x", "/tmp/private", mode=0o600)
    assert inside(jail, "say(os.stat('/tmp/private').st_mode & 0o777)") == 0o600


def test_errors_are_those_of_open(sandbox: Jail) -> None:
    """With the path, and the classes that Python has for them."""
    with pytest.raises(FileNotFoundError) as caught:
        sandbox.get("/tmp/missing")
    assert caught.value.filename == "/tmp/missing"
    with pytest.raises(FileNotFoundError):
        sandbox.put(b"", "/no/such/folder")
    with pytest.raises(OSError, match="Read-only") as read_only:
        sandbox.put(b"", "/usr/new")
    assert read_only.value.errno in (errno.EROFS, errno.EACCES)
    with pytest.raises((PermissionError, IsADirectoryError)):
        sandbox.put(b"", "/tmp")
    with pytest.raises(FileNotFoundError):
        sandbox.put("/no/such/file/of/the/host", "/tmp/file")
    with Jail(limits=Limits(disk=MiB)) as small, pytest.raises(OSError, match="No space"):
        small.put(b"x" * 2 * MiB, "/tmp/file")


def test_only_what_is_small_enough_comes_out(sandbox: Jail) -> None:
    """The bound is exact, and holds for a file that goes on for ever."""
    sandbox.put(b"x" * 100, "/tmp/file")
    assert sandbox.get("/tmp/file", max_bytes=100) == b"x" * 100
    with pytest.raises(OSError, match="max_bytes") as caught:
        sandbox.get("/tmp/file", max_bytes=99)
    assert caught.value.errno == errno.EFBIG
    sandbox.run(["truncate", "-s", "1T", "/tmp/sparse"], limits=Limits(file_size=jailkit.UNLIMITED)).check()
    with pytest.raises(OSError, match="max_bytes"):
        sandbox.get("/tmp/sparse", max_bytes=1000)


MAKE = """
os.mkfifo("/tmp/fifo")
os.mkdir("/tmp/directory")
import socket
sock = socket.socket(socket.AF_UNIX)
sock.bind("/tmp/socket")
links = {"zero": "/dev/zero", "exe": "/proc/self/exe", "root": "/proc/1/root/etc/passwd", "to fifo": "/tmp/fifo"}
for name, target in links.items():
    os.symlink(target, "/tmp/" + name)
say(True)
"""
NO_FILES = (
    "/tmp/fifo",
    "/tmp/directory",
    "/tmp/socket",
    "/tmp/zero",
    "/dev/zero",
    "/tmp/to fifo",
    "/dev/stdin",
    "/proc/self/fd/0",
)


@pytest.mark.parametrize("path", NO_FILES)
def test_what_is_no_regular_file_does_not_come_out(sandbox: Jail, path: str) -> None:
    """Neither itself nor behind a link; and it cannot make the host wait."""
    inside(sandbox, MAKE)
    with pytest.raises(OSError, match=r"\[Errno \d+\]"):
        sandbox.get(path)
    assert sandbox.run(["echo", "alive"]).ok


@pytest.mark.parametrize("path", ["/tmp/fifo", "/tmp/directory", "/tmp/socket", "/tmp/to fifo", "/proc/self/fd/0"])
def test_what_is_no_regular_file_takes_nothing_in(sandbox: Jail, path: str) -> None:
    """A fifo with a reader that does not read must not hold the host."""
    inside(sandbox, MAKE)
    with sandbox.popen(["sh", "-c", "exec 3<>/tmp/fifo; echo open; sleep 3600"]) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        with pytest.raises(OSError, match=r"\[Errno \d+\]"):
            sandbox.put(b"x" * MiB, path)
        reader.kill()
    assert sandbox.run(["echo", "alive"]).ok


@pytest.mark.parametrize(
    "path", ["/proc/self/exe", "/tmp/exe", "/proc/1/exe", "/tmp/root", "/proc/self/root/etc/shadow"]
)
def test_the_program_of_the_host_does_not_come_out(jail: Jail, path: str) -> None:
    """/proc/self/exe of whoever opens for the host is jailkit-init: CVE-2019-5736 begins with having it."""
    inside(jail, MAKE)
    with pytest.raises(OSError, match=r"\[Errno \d+\]"):
        jail.get(path)
    with pytest.raises(OSError, match=r"\[Errno \d+\]"):
        jail.put(b"", path)


@pytest.mark.parametrize("path", ["/proc/self/exe", "/tmp/exe"])
def test_the_program_of_the_host_cannot_be_executed(jail: Jail, path: str) -> None:
    """A jailed program that is a copy of jailkit-init would have its memory and its file at hand."""
    inside(jail, MAKE)
    with pytest.raises(jailkit.LaunchError):
        jail.run([path], timeout=patient(30))
    script = "#!/proc/self/exe\n"
    jail.put(script.encode(), "/tmp/script", mode=0o755)
    with contextlib.suppress(jailkit.LaunchError):
        # The kernel runs the interpreter that a script names itself: what then runs must not be jailkit-init.
        result = jail.run(["/tmp/script"], timeout=patient(30))
        assert result.returncode != 2, "jailkit-init ran, and said how it is used"


def test_links_stay_in_the_jail(jail: Jail, canary: str) -> None:
    """A link to a file of the host leads to the same name in the jail, where nothing is."""
    jail.run(["ln", "-s", canary, "/tmp/link"]).check()
    jail.run(["ln", "-s", f"../../../../../..{canary}", "/tmp/up"]).check()
    for path in ("/tmp/link", "/tmp/up", f"/..{canary}"):
        with pytest.raises(FileNotFoundError):
            jail.get(path)
        with pytest.raises(FileNotFoundError):
            jail.put(b"changed", path)


def test_a_directory_that_changes_into_a_link_leads_nowhere(jail: Jail, public: str, canary: str) -> None:
    """While a program flips a directory and a link to the host's, what comes out is never the host's."""
    name = os.path.basename(canary)
    code = """
    public = sys.argv[1]
    os.makedirs("/tmp/real")
    open("/tmp/real/canary", "w").write("mine")
    os.symlink(public, "/tmp/other")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        os.rename("/tmp/real", "/tmp/swap"); os.rename("/tmp/other", "/tmp/real")
        os.rename("/tmp/swap", "/tmp/other")
        os.rename("/tmp/real", "/tmp/swap"); os.rename("/tmp/other", "/tmp/real"); os.rename("/tmp/swap", "/tmp/other")
    """
    from tests.inside import program

    assert name == "canary"
    with jail.popen(program(code, public)) as flipper:
        found = set()
        for _ in range(200):
            with contextlib.suppress(FileNotFoundError):
                found.add(jail.get("/tmp/real/canary"))
        flipper.kill()
    assert found <= {b"mine", b""}


def test_many_at_once(sandbox: Jail) -> None:
    """From several threads, each its own file."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                data = f"{number} {turn}".encode() * 1000
                sandbox.put(data, f"/tmp/{number}")
                assert sandbox.get(f"/tmp/{number}") == data
        except BaseException as error:  # noqa: BLE001 - it belongs to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert errors == []


def test_the_host_s_own_files_come_out_of_a_bind(public: str, canary: str) -> None:
    """What the caller has shown to the jail can be read through it, and what is read-only cannot be written."""
    with Jail(mounts=[Bind(public, "/data")]) as jail:
        assert jail.get("/data/canary") == b"sings"
        with pytest.raises(OSError, match=r"\[Errno (30|13)\]"):
            jail.put(b"changed", "/data/canary")
    assert os.path.getsize(canary) == 5
