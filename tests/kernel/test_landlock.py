"""The second wall: what a mount would let through, the Landlock rules do not."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator

import pytest

from jailkit import Bind, Jail, Level, Tmpfs, UnsupportedError
from tests.inside import inside

pytestmark = pytest.mark.requires("userns", "python", "landlock")

# The superuser of a jail can do in it what only a rule may then forbid.
WRITE = """
def make(path):
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)
say({path: attempt(make, path + "/file") for path in sys.argv[1:]})
"""


def test_rules_hold_where_the_mounts_do_not() -> None:
    """A directory that is writable by its mount and not by a rule cannot be written to."""
    import attrs

    with Jail(level=Level.JAIL, landlock=True, mounts=[Tmpfs("/scratch"), Tmpfs("/other")]) as whole:
        assert set(inside(whole, WRITE, "/scratch", "/other", "/tmp").values()) == {"POSSIBLE"}
        made = whole._made
    from jailkit import _native

    steps = tuple(step for step in made.plan.jail_steps if not (step.op == "landlock_rule" and step.slot == "tmpfs:1"))
    plan = attrs.evolve(made.plan, jail_steps=steps)
    jail = Jail.from_spec(whole.spec)
    jail._blueprint = attrs.evolve(made, plan=plan, encoded=_native.encode_plan(plan.host_steps, steps))
    with jail:
        found = inside(jail, WRITE, "/scratch", "/other", "/tmp")
    assert found == {"/scratch": "POSSIBLE", "/other": "EACCES", "/tmp": "POSSIBLE"}


def test_what_is_writable_is_writable(public: str) -> None:
    """Private directories, a tmpfs, a writable bind: files are made, moved between directories, cut and removed."""
    import os

    os.chmod(public, 0o777)
    code = """
def use(top):
    os.makedirs(top + "/a/b")
    open(top + "/a/file", "w").write("12345")
    os.rename(top + "/a/file", top + "/a/b/file")
    os.link(top + "/a/b/file", top + "/a/link")
    os.truncate(top + "/a/link", 2)
    os.symlink("x", top + "/a/sym")
    os.mkfifo(top + "/a/fifo")
    import socket, shutil
    socket.socket(socket.AF_UNIX).bind(top + "/a/socket")
    shutil.rmtree(top + "/a")
say({top: attempt(use, top) for top in sys.argv[1:]})
"""
    mounts: tuple[Tmpfs | Bind, ...] = (Tmpfs("/scratch"), Bind(public, "/data", writable=True))
    tops = ("/tmp", "/home/jail", "/dev/shm", "/scratch", "/data")
    with Jail(mounts=mounts) as jail:
        assert inside(jail, code, *tops) == dict.fromkeys(tops, "POSSIBLE")
        assert inside(jail, WRITE, "/usr", "/etc", "/", "/dev") != {}
        assert "POSSIBLE" not in inside(jail, WRITE, "/usr", "/etc", "/", "/dev").values()


def test_programs_of_one_jail_see_each_other() -> None:
    """The rules are those of the jail: signals and abstract sockets go from one of its programs to another."""
    wait = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(b'\\0it'); s.listen(); print('up', flush=True)"
    )
    wait += "; s.accept(); import time; time.sleep(60)"
    with Jail() as jail, jail.popen(["/usr/bin/python3", "-c", wait]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        meet = "import socket; say(attempt(socket.socket(socket.AF_UNIX).connect, b'\\0it'))"
        assert inside(jail, meet) == "POSSIBLE"
        number = inside(
            jail, "say([n for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())][0])"
        )
        assert jail.run(["sh", "-c", f"kill -9 {number}"]).ok
        process.wait(timeout=30)
        assert process.returncode == -9


@pytest.fixture
def abstract() -> Iterator[str]:
    """An abstract socket of the host."""
    name = f"canary-{secrets.token_hex(8)}"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(b"\0" + name.encode())
        sock.listen()
        yield name


@pytest.mark.requires("landlock6")
def test_abstract_sockets_of_the_host_are_out_of_reach(abstract: str) -> None:
    """Even on the host's own network, where without the rules they are open."""
    code = "import socket; say(attempt(socket.socket(socket.AF_UNIX).connect, b'\\0' + sys.argv[1].encode()))"
    with Jail(net="host", landlock=False) as jail:
        assert inside(jail, code, abstract) == "POSSIBLE"
    with Jail(net="host") as jail:
        assert inside(jail, code, abstract) == "EPERM"


def test_loopback_goes_on_working() -> None:
    """TCP on the jail's own network is nobody else's affair."""
    code = """
import socket
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
say(attempt(socket.create_connection, server.getsockname()))
"""
    with Jail() as jail:
        assert inside(jail, code) == "POSSIBLE"


def test_rules_and_mounts_exclude_each_other() -> None:
    """By default the rules give way, visibly; asked for both, it is refused."""
    with Jail(allow=["nested", "mount"]) as jail:
        assert {item.name: item.state for item in jail.isolation}["landlock"] == "absent"
    with pytest.raises(UnsupportedError):
        _ = Jail(landlock=True, allow=["nested", "mount"]).plan
