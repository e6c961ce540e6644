"""What goes wrong says so, in the right class, and leaves nothing; closed things stay closed."""

from __future__ import annotations

import errno
import pickle
import signal
import threading
from typing import Any

import pytest

import jailkit
from jailkit import Bind, Jail, Level, Limits, MiB, User
from tests.inside import small_root
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")


def test_not_found_not_executable_and_not_built_are_three_errors(sandbox: Jail) -> None:
    """Each is a LaunchError; the first two are also what Python calls them."""
    sandbox.put(b"echo", "/tmp/plain", mode=0o644)
    sandbox.put(b"no program", "/tmp/format", mode=0o755)
    sandbox.put(b"#!/no/such/interpreter\n", "/tmp/script", mode=0o755)
    for argv in (["no-such-program"], ["/no/such/program"], ["/tmp/script"], ["/tmp/plain/below"]):
        for start in (sandbox.run, sandbox.popen, jailkit.run):
            if start is jailkit.run and argv[0].startswith("/tmp"):
                continue
            with pytest.raises(jailkit.CommandNotFound) as caught:
                start(argv)
            assert isinstance(caught.value, FileNotFoundError)
            assert caught.value.filename == argv[0]
    for argv in (["/tmp/plain"], ["/tmp"], ["/tmp/format"], ["/usr"]):
        with pytest.raises(jailkit.CommandNotExecutable) as refused:
            sandbox.run(argv)
        assert isinstance(refused.value, PermissionError)
    with pytest.raises(jailkit.LaunchError) as built:
        jailkit.run(["true"], mounts=[Bind("/no/such/source", "/data")])
    assert not isinstance(built.value, jailkit.CommandNotFound)
    assert (built.value.errno, built.value.filename) == (errno.ENOENT, "/no/such/source")
    assert "/no/such/source" in str(built.value)
    assert "ENOENT" in str(built.value)
    assert "hint" in str(built.value)


def test_errors_survive_a_pickle(sandbox: Jail) -> None:
    """With their words and numbers: they come from worker processes."""
    with pytest.raises(jailkit.CommandNotFound) as caught:
        sandbox.run(["no-such-program"])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.errno, copy.phase) == (str(caught.value), caught.value.errno, caught.value.phase)


def test_a_working_directory_that_is_not_there(sandbox: Jail) -> None:
    """Is an error of the launch, and names it."""
    with pytest.raises(jailkit.LaunchError, match="working directory") as caught:
        sandbox.run(["true"], cwd="/no/such")
    assert caught.value.errno == errno.ENOENT
    assert not isinstance(caught.value, jailkit.CommandNotFound)


@pytest.mark.parametrize("level", list(Level))
def test_a_root_that_is_not_there_leaves_nothing(level: Level) -> None:
    """The jail is not started, and can be closed all the same."""
    jail = Jail("/no/such/root", level=level)
    with pytest.raises(jailkit.LaunchError) as caught:
        jail.start()
    assert caught.value.errno == errno.ENOENT
    jail.close()
    with pytest.raises(jailkit.ClosedError):
        jail.run(["true"])


def test_what_the_host_cannot_do_is_refused_before_anything_runs() -> None:
    """By name: net=True is not in this version, and some wishes exclude each other."""
    impossible: tuple[dict[str, Any], ...] = (
        {"net": True},
        {"landlock": True, "allow": ["nested", "mount"]},
        {"allow": ["raw_sockets"], "net": "host"},
    )
    for fields in impossible:
        with pytest.raises(jailkit.UnsupportedError):
            Jail(**fields).start()


@pytest.mark.requires("no-cgroups")
@pytest.mark.parametrize("name", ["memory", "swap", "cpus"])
def test_limits_of_control_groups_are_refused_where_there_are_none(name: str) -> None:
    """Of a jail and of a program, with what is missing and how to get it."""
    limits = Limits(**{name: 2 * MiB if name == "memory" else 1})
    with pytest.raises(jailkit.UnsupportedError, match="no control group can be made") as caught:
        Jail(limits=limits).start()
    assert "Delegate=yes" in caught.value.remedy
    with Jail() as jail, pytest.raises(jailkit.UnsupportedError):
        jail.run(["true"], limits=limits)


@pytest.mark.requires("user")
def test_a_user_that_the_jail_does_not_have() -> None:
    """An ordinary user has one id to give."""
    with Jail() as jail:
        with pytest.raises(jailkit.UnsupportedError):
            jail.run(["true"], user=33)
        with pytest.raises(jailkit.UnsupportedError):
            jail.run(["true"], user=User(1000, groups=(5,)))


def test_a_writable_root_without_mount_points_says_what_to_make(public: str) -> None:
    """Nothing is made in a root that is the caller's own."""
    binds = small_root(public, points=False)
    with pytest.raises(jailkit.LaunchError) as caught:
        Jail(public, writable="yes", mounts=binds, level=Level.JAIL).start()
    assert caught.value.errno == errno.ENOENT
    assert "create /" in str(caught.value)


def test_closing_twice_is_fine() -> None:
    """And a jail that was never started can be closed too."""
    jail = Jail()
    jail.close()
    jail.start()
    assert not jail.closed
    jail.close()
    jail.close()
    assert jail.closed


def test_use_after_close() -> None:
    """Is a clear error, for every method."""
    with Jail() as jail:
        jail.run(["true"])
    for use in (
        lambda: jail.run(["true"]), lambda: jail.popen(["true"]), lambda: jail.put(b"", "/tmp/x"),
        lambda: jail.get("/tmp/x"),
        lambda: jail.pid, jail.start, jail.__enter__,
    ):  # fmt: skip
        with pytest.raises(jailkit.ClosedError, match="closed"):
            use()
    assert "closed" in repr(jail)
    with pytest.raises(jailkit.ClosedError, match="not started"):
        Jail().run(["true"])


def test_start_twice() -> None:
    """One jail is started once."""
    with Jail() as jail, pytest.raises(jailkit.ClosedError):
        jail.start()


def test_a_jail_that_was_killed_from_outside() -> None:
    """The program in it is LOST; what comes later is a ClosedError, at once."""
    import os

    with Jail() as jail:
        process = jail.popen(["sleep", "3600"])
        results: list[object] = []
        thread = threading.Thread(
            target=lambda: results.append(jail.run(["sleep", "3600"], timeout=patient(50)).reason)
        )
        thread.start()
        while len(jail.run(["sh", "-c", "grep -l sleep /proc/[0-9]*/comm"]).stdout.split()) < 2:
            pass
        os.kill(jail.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert process.result().reason is jailkit.ExitReason.LOST
        thread.join(30)
        assert results == [jailkit.ExitReason.LOST]
        # For a moment a request may still find somebody to die with.
        with pytest.raises(jailkit.ClosedError):  # noqa: PT012
            while True:
                assert jail.run(["true"], timeout=patient(30)).reason is jailkit.ExitReason.LOST
        with pytest.raises(jailkit.ClosedError):
            jail.get("/tmp/x")
        process.close()


def test_closing_while_others_run() -> None:
    """A close from another thread ends every run, and none of them hangs."""
    outcomes: list[str] = []

    def work(jail: Jail) -> None:
        try:
            outcomes.append(jail.run(["sleep", "3600"], timeout=patient(50)).reason.name)
        except jailkit.ClosedError:
            outcomes.append("closed")

    with Jail() as jail:
        threads = [threading.Thread(target=work, args=(jail,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            jail.run(["true"])
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == 6
    assert set(outcomes) <= {"KILLED", "closed"}
