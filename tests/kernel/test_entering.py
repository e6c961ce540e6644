"""The caller's own Python in a jail: `attach`, for good, and `inside`, for a while."""

from __future__ import annotations

import inspect
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import jailkit
from jailkit import Bind, Jail, Level, Limits, MiB
from tests.entered import entered, entering, forking
from tests.inside import inside, program
from tests.patience import at_last, patient


def facts() -> dict[str, Any]:
    """What the kernel says that a process may do, and where it is."""
    words = "Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Umask SigBlk".split()
    with open("/proc/self/status") as file:
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in file) if name in words}
    for name in ("uid_map", "gid_map", "setgroups", "mountinfo", "cgroup", "limits"):
        with open(f"/proc/self/{name}") as file:
            status[name] = file.read()
    spaces = "user mnt pid pid_for_children net uts ipc".split()
    status |= {name: os.readlink(f"/proc/self/ns/{name}") for name in spaces}
    return status | {"cwd": os.getcwd(), "root": sorted(os.listdir("/")), "env": str(sorted(os.environ.items()))}


FACTS = "import os\nfrom typing import Any\n" + inspect.getsource(facts) + "\nsay(facts())"


@pytest.mark.requires("userns", "python")
@pytest.mark.parametrize("level", [Level.CHROOT, Level.JAIL, Level.CONTAINER, Level.SANDBOX], ids=str)
def test_who_attaches_is_what_a_program_is(level: Level) -> None:
    """Ids, capabilities, filter, namespaces, mounts, limits, directory and variables are those of a program."""
    with Jail(level=level, mounts=[Bind("/var/tmp", writable=True)], limits=Limits(open_files=99)) as jail:
        forks = entered(jail, facts, way=forking)  # of root, in a jail where nothing has run: born inside
        told = inside(jail, FACTS)
        code, attached = entered(jail, facts)
        again = entered(jail, facts, way=forking)
    assert code == 0
    assert attached == told
    assert forks == again == (0, told)
    assert attached["root"] != sorted(os.listdir("/"))


def attack() -> dict[str, str]:
    """What a program of the jail must not get away with."""
    tries: dict[str, Callable[[], Any]] = {
        "host file": lambda: open(CANARY).close(),
        "write to /usr": lambda: open("/usr/mine", "w").close(),
        "write to a read-only bind": lambda: open("/var/tmp/mine", "w").close(),
        "sethostname": lambda: socket.sethostname("mine"),
        "become root": lambda: os.setresuid(0, 0, 0),
        "signal the host": lambda: os.kill(HOST, signal.SIGTERM),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000)),
        "trace PID 1": lambda: os.readlink("/proc/1/root"),
        "connect": lambda: socket.create_connection(ADDRESS, 1).close(),
    }
    found = {}
    for name, act in tries.items():
        try:
            act()
        except (OSError, ValueError) as error:
            found[name] = type(error).__name__
        else:
            found[name] = "POSSIBLE"
    return found


CANARY, HOST, ADDRESS = "", 0, ("127.0.0.1", 0)


@pytest.mark.requires("userns")
def test_who_attached_reaches_nothing(canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of what is possible outside is possible for a process that has attached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setitem(globals(), "CANARY", canary)
        monkeypatch.setitem(globals(), "HOST", os.getpid())
        monkeypatch.setitem(globals(), "ADDRESS", server.getsockname())
        open(canary).close()  # each of these can be done outside
        socket.create_connection(server.getsockname(), patient(5)).close()
        with Jail(mounts=[Bind(os.path.dirname(sys.executable), "/var/tmp")], limits=Limits(open_files=99)) as jail:
            forked = entered(jail, attack, way=forking)
            code, found = entered(jail, attack)
    assert code == 0
    assert forked == (0, found)
    assert "POSSIBLE" not in found.values(), found
    assert len(found) == 9


@pytest.mark.requires("userns")
def test_descriptors_and_secrets_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was open is open inside but what was named, and nobody's variables are there."""
    monkeypatch.setenv("SECRET", "shh")
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(directory, True)

    def look() -> list[Any]:
        fds = [fd for fd in range(300) if os.path.exists(f"/proc/self/fd/{fd}")]
        return [len(fds), os.readlink("/proc/self/fd/0"), os.environ.get("SECRET"), os.environ.get("MINE")]

    try:
        with Jail() as jail:
            code, found = entered(jail, look, env={"MINE": "1"})
            kept = entered(jail, lambda: os.environ.get("SECRET"), clean_env=False)
    finally:
        os.close(directory)
    assert (code, found) == (0, [4, "/dev/null", None, "1"])
    assert kept == (0, "shh")


SPY = """
import glob, select
caught, seen = [], set()

def comm_of(name):
    if read(f"/proc/{name}/comm") in (b"cat\\n", b"jailkit-init\\n"):
        raise OSError(errno.ENOENT, "not the newcomer")

print("ready", flush=True)
told = False
while not told:
    told = sys.stdin in select.select([sys.stdin], [], [], 0)[0]
    for name in os.listdir("/proc"):
        # By cat an ordinary user finds the way in: a program of the jail as any other, until its exec PID 1's copy.
        if attempt(comm_of, name) != "POSSIBLE":
            continue
        if not name.isdigit() or name in ("1", str(os.getpid())):
            continue
        seen.add(name)
        for what in ("mem", "environ", "maps"):
            try:
                if what == "mem":
                    open(f"/proc/{name}/mem", "rb").close()
                    caught.append(f"{name}/{what}")
                elif read(f"/proc/{name}/{what}"):  # of a zombie, nothing
                    caught.append(f"{name}/{what}")
            except OSError:
                pass
        for what in ("root", "cwd", "exe", "ns/mnt"):
            try:
                os.readlink(f"/proc/{name}/{what}")
                caught.append(f"{name}/{what}")
            except OSError:
                pass
        if call("ptrace", 16, int(name), 0, 0) == "POSSIBLE":
            caught.append(f"{name}/ptrace")
say([len(seen), sorted(set(caught))])
"""


@pytest.mark.requires("userns", "python")
@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX], ids=str)
def test_nobody_looks_into_who_attaches(level: Level) -> None:
    """A hostile program that waits for it neither traces it nor opens anything of it, at no moment of its way in."""

    def spied(seconds: float) -> bool:
        with jail.popen(program(SPY), stdin=jailkit.PIPE, text=True, timeout=patient(50)) as spy:
            assert spy.stdout
            assert spy.stdout.readline() == "ready\n"
            done = [entered(jail, lambda: time.sleep(seconds)) for _ in range(12)]
            seen, caught = json.loads(spy.communicate("")[0])
        assert done == [(0, None)] * 12
        assert caught == []
        return bool(seen >= 3)

    with Jail(level=level) as jail:
        assert at_last(spied, 0.05)
        # The control: a program of the same user is looked into.
        with jail.popen(["sleep", "60"]) as watched:
            said = jail.run(program(SPY), text=True).stdout  # its stdin is empty: it looks once
            assert json.loads(said.partition("\n")[2])[1] != []
            watched.kill()


@pytest.mark.requires("userns")
def test_half_a_jail_is_none(public: str) -> None:
    """When a step fails, the process ends: not a line of the caller runs unconfined."""
    os.chmod(public, 0o777)
    mark = f"{public}/ran"
    with Jail(mounts=[Bind(public, writable=True)]) as jail:
        assert entered(jail, lambda: open(mark, "w").close(), cwd="/missing") == (125, None)
        assert not os.path.exists(mark)
        assert entered(jail, lambda: open(mark, "w").close()) == (0, None)
        assert os.path.exists(mark)
        # The jail dies between the fork and the attempt.
        with jail.entrance():
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.read(read, 1)
                os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                jail.attach(keep_fds=(2,))
                os._exit(0)
            jail.close()
            os.write(write, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 125
        os.close(read)
        os.close(write)


def wait_long() -> None:
    """Be there until somebody ends it."""
    time.sleep(600)


@pytest.mark.requires("userns")
def test_its_end_is_told_and_the_jail_ends_it() -> None:
    """How it ends is how the forked process ends; a program's end leaves it alone, and the end of the jail does not."""
    with Jail() as jail:
        assert entered(jail, lambda: os._exit(7))[0] == 7
        assert entered(jail, lambda: os.kill(os.getpid(), signal.SIGSEGV))[0] == -signal.SIGSEGV
        child, read = entering(jail, wait_long)
        jail.run(["true"]).check()
        jail.run(["true"]).check()
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(read)


@pytest.mark.requires("cgroups")
def test_its_memory_is_the_jails() -> None:
    """It is bounded by the memory of the jail, and killed when that is used up."""
    with Jail(limits=Limits(memory=96 * MiB)) as jail:
        code, _ = entered(jail, lambda: len(bytearray(os.urandom(1)) * (200 * MiB)))
    assert code == -signal.SIGKILL
    with Jail(limits=Limits(memory=512 * MiB)) as jail:
        assert entered(jail, lambda: len(bytearray(os.urandom(1)) * (200 * MiB))) == (0, 200 * MiB)


@pytest.mark.requires("userns")
def test_who_may_attach() -> None:
    """Only a child that was forked inside an entrance, and only alone."""
    with Jail() as jail:
        with pytest.raises(jailkit.ClosedError, match="forked inside"):
            jail.attach()
        with jail.entrance():
            with pytest.raises(jailkit.ClosedError, match="forked inside"):
                jail.attach()
            with pytest.raises(jailkit.ClosedError, match="open already"), jail.entrance():
                pass
            child = os.fork()
            if child == 0:
                stop = threading.Event()
                threading.Thread(target=stop.wait, daemon=True).start()
                try:
                    jail.attach()
                except jailkit.UnsupportedError as error:
                    os._exit(0 if "2 threads" in str(error) else 1)
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(jailkit.ClosedError), jail.entrance():
        pass


@pytest.mark.requires("landlock6", "libseccomp")
def test_without_namespaces_there_is_nothing_to_enter() -> None:
    """A jail of the tier landlock says that nobody can enter it."""
    with pytest.raises(jailkit.UnsupportedError, match="no namespaces"), Jail(tier="landlock").entrance():
        pass


@pytest.mark.requires("root")
def test_inside_and_back() -> None:
    """In the block files and network are the jail's, and afterwards all is as it was, whatever was raised."""
    in_a_fork(go_inside_and_back)  # pytest's own process has a thread, which would dump stacks


def in_a_fork(function: Callable[[], None]) -> None:
    """Call a function in a child process, where there is one thread."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - a fork must not go on with the suite
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def go_inside_and_back() -> None:
    """Enter a jail, look around, fail, and look whether everything is as it was."""
    before = (os.getcwd(), os.stat("/").st_dev, os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/mnt"))
    with Jail() as jail:
        jail.put(b"jail's", "/tmp/word")
        with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(ZeroDivisionError), jail.inside():  # noqa: PT012
            with open("/tmp/word") as file:
                assert file.read() == "jail's"
            assert not os.path.exists("/root/.bashrc")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(server.getsockname(), patient(5))
            assert subprocess.run(["cat", "/tmp/word"], capture_output=True, check=True).stdout == b"jail's"
            raise ZeroDivisionError
    after = (os.getcwd(), os.stat("/").st_dev, os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/mnt"))
    assert after == before


@pytest.mark.requires("root")
def test_inside_is_for_one_thread() -> None:
    """Beside another thread nothing is entered."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with Jail() as jail, pytest.raises(jailkit.UnsupportedError, match="threads"), jail.inside():
            pass
    finally:
        stop.set()
        thread.join()


@pytest.mark.requires("user", "userns")
def test_inside_is_for_root() -> None:
    """An ordinary user is told that it is not for him."""
    with Jail() as jail, pytest.raises(jailkit.UnsupportedError, match="run as root"), jail.inside():
        pass


@pytest.mark.requires("userns")
def test_who_forks_stays_as_he_was() -> None:
    """A fork into a jail leaves the caller his namespaces and his memory as they were, and no descriptor."""

    def state() -> list[Any]:
        names = ("pid", "pid_for_children", "user")
        spaces = [os.readlink(f"/proc/self/ns/{name}") for name in names]
        return [spaces, os.stat("/proc/self/status").st_uid, len(os.listdir("/proc/self/fd")), threading.active_count()]

    with Jail() as jail:
        for _ in range(2):  # the first is born inside where root forks, the second is not
            before = state()
            assert entered(jail, os.getpid, way=forking)[0] == 0
            assert state() == before
            jail.run(["true"])


def refused() -> list[str]:
    """Try what is refused; return what was possible."""
    try:
        socket.sethostname("mine")
    except PermissionError:
        return []
    return ["sethostname"]


@pytest.mark.requires("userns")
def test_what_forks_are_refused() -> None:
    """What a fork is refused is told by its jail, if that was asked for; who attaches would not be heard."""
    with Jail(report_denials=True) as jail:
        assert jail.denials() == ()
        for times in (1, 2):
            assert entered(jail, refused, way=forking) == (0, [])
            assert [one.call for one in jail.denials()] == ["sethostname"] * times
        assert entered(jail, refused)[0] == 99  # refused, before anything has changed
