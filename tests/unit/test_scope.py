"""What is asked of systemd, and what its answers come to, with a bus that a test plays."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jailkit import UnsupportedError
from jailkit import _bus as client
from jailkit import _scope as scope
from tests.fakebus import FakeBus, Refusal, served
from tests.patience import patient


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of the mount of cgroup v2, where every process is in the scope that was last made."""
    top = tmp_path / "groups"
    top.mkdir()
    monkeypatch.setattr(scope, "_cgroup2_mount", lambda: (str(top), ""))
    return top


@pytest.fixture
def bus(tmp_path: Path, groups: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBus]:
    """A bus that is both buses; a scope appears where systemd makes it."""
    units: dict[int, str] = {}

    def made(unit: str, pid: int) -> None:
        units[pid] = unit
        (groups / unit).mkdir()

    def found(mount: tuple[str, str], keeper: int, unit: str) -> str:
        assert units[keeper] == unit
        return f"{mount[0]}/{unit}"

    with served(str(tmp_path)) as fake:
        fake.on_start = made
        monkeypatch.setattr(scope, "_found", found)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", fake.address)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", fake.address)
        yield fake
        scope._at_exit()


def started(fake: FakeBus) -> list[tuple[str, dict[str, Any]]]:
    """Return name and properties of the scopes that were asked for."""
    return [(body[0], dict(body[2])) for method, body in fake.calls if method == "StartTransientUnit"]


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("early", [False, True], ids=["in order", "job ends first"])
def test_a_scope_is_asked_for_once(bus: FakeBus, groups: Path, user: bool, early: bool) -> None:
    """With delegation, without a limit on tasks, and with one process that is not the caller."""
    bus.early = early
    path = scope.transient_scope(user=user)
    name = f"jailkit-{os.getpid()}.scope"
    assert path == f"{groups}/{name}"
    assert scope.transient_scope(user=user) == path
    ((unit, properties),) = started(bus)
    assert unit == name
    assert properties["Delegate"] == ("b", True)
    assert properties["TasksMax"] == ("t", 2**64 - 1)
    kind, (keeper,) = properties["PIDs"]
    assert (kind, keeper != os.getpid()) == ("au", True)
    assert Path(f"{path}/keeper/cgroup.procs").read_text() == str(keeper)


def test_threads_share_one_scope(bus: FakeBus) -> None:
    """Whoever asks first makes it, and the others wait for it."""
    paths: list[str] = []
    threads = [threading.Thread(target=lambda: paths.append(scope.transient_scope(user=False))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patient(30))
    assert len(paths) == 8
    assert len(set(paths)) == len(started(bus)) == 1


def test_a_scope_that_is_gone_is_made_again(bus: FakeBus, groups: Path) -> None:
    """Somebody stopped it: its keeper is dead."""
    scope.transient_scope(user=False)
    scope._scopes[False]._keeper.kill()
    scope._scopes[False]._keeper.wait(patient(30))
    (groups / f"jailkit-{os.getpid()}.scope").rename(groups / "old")
    assert os.path.isdir(scope.transient_scope(user=False))
    assert len(started(bus)) == 2


def test_a_name_that_is_taken_is_not_the_end(bus: FakeBus) -> None:
    """The scope of an earlier process of this number may still be there."""
    name = f"jailkit-{os.getpid()}.scope"
    made = bus.on_start

    def taken(unit: str, pid: int) -> None:
        if unit == name:
            raise Refusal("org.freedesktop.systemd1.UnitExists")
        made(unit, pid)

    bus.on_start = taken
    path = scope.transient_scope(user=False)
    assert os.path.basename(path).startswith(name.removesuffix(".scope") + "-")


HOST = """
import os, signal, sys, time
from jailkit import _scope as scope
scope._cgroup2_mount = lambda: (sys.argv[1], "")
scope._found = lambda mount, keeper, unit: f"{mount[0]}/{unit}"
def keeper():
    scope.transient_scope(user=False)
    return scope._scopes[False]._keeper.pid
print(keeper(), flush=True)
"""


def host(code: str, groups: Path) -> subprocess.Popen[str]:
    """Start a program that has a scope, and print the number of its keeper."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOST + code, str(groups)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.usefixtures("bus")
@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "pass", "os._exit(3)"], ids=["killed", "ends", "ends at once"]
)
def test_the_keeper_ends_with_the_host(groups: Path, end: str) -> None:
    """However that ends: the keeper reads a pipe whose other end only the host holds."""
    with host(f"sys.stdin.readline(); {end}", groups) as program:
        assert program.stdout is not None
        fd = os.pidfd_open(int(program.stdout.readline()))
        try:
            assert select.select([fd], [], [], 0)[0] == []
            _, errors = program.communicate("\n", timeout=patient(30))
            assert select.select([fd], [], [], patient(30))[0] == [fd]
        finally:
            os.close(fd)
    assert errors == ""


@pytest.mark.usefixtures("bus")
def test_a_fork_has_a_scope_of_its_own(groups: Path) -> None:
    """The copy neither uses nor ends the parent's, and does not keep it alive."""
    code = """
child = os.fork()
if child == 0:
    assert scope._scopes == {}
    print(keeper(), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
mine = scope._scopes[False]
print(mine.alive(), scope.transient_scope(user=False) == mine.path)
"""
    with host(code, groups) as program:
        out, errors = program.communicate(timeout=patient(30))
    first, second, says = out.splitlines()
    assert (errors, says) == ("", "True True")
    assert first != second
    names = {path.name for path in groups.iterdir()}
    assert len(names) == 2


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(user: bool = False) -> UnsupportedError:
    """Return the error, which leaves no keeper behind."""
    with pytest.raises(UnsupportedError) as caught:
        scope.transient_scope(user=user)
    assert scope._scopes == {}
    assert "JAILKIT_CGROUP" in caught.value.remedy
    return caught.value


@pytest.mark.usefixtures("groups")
def test_without_a_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the socket, and dbus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for user, name in ((False, "none"), (True, "bus")):
        error = refused(user)
        assert f"{tmp_path}/{name}" in error.missing
        assert "dbus" in error.remedy


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("address", ["tcp:host=localhost", "nonsense", "unix:nothing=1", ""])
def test_an_address_that_is_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    """It is refused in words; an empty one is none."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "no message bus" in refused(True).missing


@pytest.mark.usefixtures("bus")
def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it and the extra that brings it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "jeepney"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "jeepney", None)
    monkeypatch.delitem(sys.modules, "jailkit._bus")
    monkeypatch.delattr("jailkit._bus")
    error = refused()
    assert "jeepney" in error.missing
    assert "jailkit[systemd]" in error.remedy


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("org.freedesktop.DBus.Error.AccessDenied", "manage-units"),
        ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "polkit"),
        ("org.freedesktop.DBus.Error.ServiceUnknown", "user@UID.service"),
        ("org.freedesktop.DBus.Error.SomethingElse", "JAILKIT_CGROUP"),
    ],
)
def test_a_refusal_is_told_with_its_remedy(bus: FakeBus, name: str, word: str) -> None:
    """What systemd, polkit or the bus answered is in the error."""

    def refuse(_unit: str, _pid: int) -> None:
        raise Refusal(name)

    bus.on_start = refuse
    error = refused()
    assert f"{name}: because" in error.missing
    assert word in error.remedy


def test_a_job_that_fails(bus: FakeBus) -> None:
    """What became of it is in the error."""
    bus.outcome = "timeout"
    assert "timeout" in refused().missing


def test_another_pid_namespace_is_noticed(bus: FakeBus) -> None:
    """Before systemd is asked to move a process: its number would mean another process there."""
    bus.pid = os.getpid() + 1
    assert "pid namespace" in refused().missing
    assert started(bus) == []


@pytest.mark.parametrize("method", ["Hello", "GetConnectionUnixProcessID", "StartTransientUnit"])
def test_a_bus_that_does_not_answer(bus: FakeBus, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """There is an end to the patience of the caller."""
    bus.silent = {method}
    monkeypatch.setattr(scope, "_SECONDS", 0.3)
    assert "no answer in time" in refused().missing


def test_a_group_that_is_not_the_scope_is_refused(bus: FakeBus, monkeypatch: pytest.MonkeyPatch, groups: Path) -> None:
    """Whatever systemd says, the kernel is asked where the keeper is."""
    monkeypatch.undo()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setattr(scope, "_cgroup2_mount", lambda: (str(groups), ""))
    assert "which is not jailkit-" in refused().missing


def test_without_cgroup_v2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says how to boot with it."""
    real = open
    table = tmp_path / "mountinfo"

    def opened(path: str) -> Any:
        return real(table if path == "/proc/self/mountinfo" else path)

    monkeypatch.setattr(scope, "open", opened, raising=False)
    table.write_text("30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n")
    assert "unified_cgroup_hierarchy" in refused().remedy
    table.write_text("30 24 0:26 /a /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
    assert scope._cgroup2_mount() == ("/sys/fs/cgroup", "/a")


def test_a_bus_that_talks_nonsense(tmp_path: Path) -> None:
    """It is an error of the bus."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/bus")
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"REJECTED EXTERNAL\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(client.BusError):
            client.Bus(f"{tmp_path}/bus", patient(10))
        thread.join()
