"""The tier without namespaces: what is attempted in it, as root with a lent id and as an ordinary user with his own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import Bind, ExitReason, Jail, Limits
from tests import leaks
from tests.facts import PYTHON
from tests.inside import host_program, inside, outside
from tests.patience import patient

pytestmark = [pytest.mark.requires("python", "landlock6", "libseccomp"), pytest.mark.timeout(180)]

BOUND = patient(30)


@pytest.fixture(autouse=True, scope="module")
def _first() -> None:
    """Have what a process keeps from its first jail of this tier on: the shell that looks after its directories."""
    jailkit.run(["true"], tier="landlock")


@pytest.fixture
def bystander() -> Iterator[int]:
    """A process of the caller, which nobody in a jail may end or change."""
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process.pid
        assert process.poll() is None, "the bystander was ended"
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 0
        process.kill()


def alive(word: str, but: int = 0) -> list[str]:
    """Return the processes of the host with a word in their command line."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{number}/cmdline", "rb") as file:
            if word.encode() in file.read() and int(number) not in (but, os.getpid()):
                found.append(number)
    return found


def gone(word: str, but: int = 0, bound: float = BOUND) -> bool:
    """Wait until no process of the host has a word in its command line."""
    deadline = time.monotonic() + bound
    while alive(word, but):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


DAEMON = """
import os, signal, sys, time
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
for _ in range(3):
    if os.fork():
        os._exit(0) if _ else None
        if not _:
            break
    os.setsid()
else:
    os.close(1), os.close(2)
    time.sleep(3600)
time.sleep(float(sys.argv[2]))
"""
"""Leaves a process behind that has left its parent, its session and its signals; argv[1] marks it."""


def daemon(mark: str, seconds: float = 0.3) -> list[str]:
    """Return the command."""
    return [PYTHON, "-I", "-S", "-c", DAEMON, mark, str(seconds)]


# --- files --------------------------------------------------------------------------------------------------------

FILES = """
import shutil
top, private = sys.argv[1:]
file = top + "/canary"
def write(path):
    open(path, "a").close()
found = {
    "read": attempt(read, file), "write": attempt(write, file), "list": attempt(os.listdir, top),
    "make": attempt(os.mkdir, top + "/new"), "link": attempt(os.link, file, top + "/link"),
    "truncate": attempt(os.truncate, file, 0), "rename": attempt(os.rename, file, top + "/moved"),
    "unlink": attempt(os.unlink, file), "chmod": attempt(os.chmod, file, 0o777), "times": attempt(os.utime, file),
    "attribute": attempt(os.setxattr, file, "user.x", b"x"),
    "watch": call("inotify_add_watch", libc.inotify_init(), top.encode(), 0xFFF),
}
say(found)
"""


def test_files_outside_are_out_of_reach(bare: Jail, public: str) -> None:
    """Neither their contents nor their names, modes and times can be got at, though their owner may."""
    path = f"{public}/canary"
    with open(path, "w") as file:
        file.write("sings")
    os.chmod(path, 0o666)
    os.chmod(public, 0o777)
    before = os.stat(path)
    found = inside(bare, FILES, public, bare.plan.cwd)
    after = os.stat(path)
    assert "POSSIBLE" not in found.values(), found
    assert (before.st_mode, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_mode, after.st_mtime_ns, after.st_ctime_ns,
    )  # fmt: skip
    control = outside(FILES, public, public)
    assert {control[name] for name in ("read", "write", "list", "make", "link", "truncate")} == {"POSSIBLE"}


def test_binds_and_the_private_directory(bare: Jail, public: str) -> None:
    """A bind is the same path and can be read; the private directory can be written to, and goes with the jail."""
    with open(f"{public}/data", "w") as file:
        file.write("1")
    code = "say([attempt(read, sys.argv[1]), attempt(open, sys.argv[1], 'w'), attempt(open, sys.argv[2], 'w')])"
    with Jail(tier="landlock", mounts=[Bind(public)]) as jail:
        assert inside(jail, code, f"{public}/data", "new") == ["POSSIBLE", "EACCES", "POSSIBLE"]
        assert os.path.exists(f"{jail.plan.cwd}/new")
        jail.put(b"42", f"{jail.plan.cwd}/answer")
        assert jail.get(f"{jail.plan.cwd}/answer") == b"42"
        assert jail.run(["sh", "-c", 'cat "$HOME/answer"; test "$HOME" = "$TMPDIR" -a "$HOME" = "$PWD"']).ok
        for use in (lambda: jail.get("/etc/shadow"), lambda: jail.put(b"", f"{public}/data")):
            with pytest.raises(PermissionError):
                use()
    assert not os.path.exists(jail.plan.cwd)
    assert inside(bare, code, f"{public}/data", "new") == ["EACCES", "EACCES", "POSSIBLE"]


@pytest.mark.requires("user")
def test_a_writable_bind(public: str) -> None:
    """Of a user's jail, what it writes is the user's; as root nothing would be, so it is refused there."""
    with Jail(tier="landlock", mounts=[Bind(public, writable=True)]) as jail:
        assert jail.run(["sh", "-c", f"echo 1 > {public}/out"]).ok
    assert os.stat(f"{public}/out").st_uid == os.geteuid()


def test_a_hostile_tree_is_removed(bare: Jail) -> None:
    """Deep, with many names, with directories that may not be read, with links: nothing is left, nothing else goes."""
    code = """
for name in ("1", "2", "3"):
    open(name, "w").close()
os.mkdir("closed"); os.mkdir("closed/in"); os.mkdir("closed/in/deep")
for number in range(2000):
    os.mkdir("d"); os.chdir("d")
os.symlink("/usr", "link")
say("made")
"""
    assert inside(bare, code) == "made"
    bare.run(["sh", "-c", "umask 777; mkdir -p $HOME/none; mkdir $HOME/empty"])
    bare.close()
    assert not os.path.exists(bare.plan.cwd)
    assert os.path.isdir("/usr/bin")


# --- processes ----------------------------------------------------------------------------------------------------

OTHERS = """
pid = int(sys.argv[1])
PRLIMIT = 302 if X86 else 261
class Limit(ctypes.Structure):
    _fields_ = [("soft", ctypes.c_ulong), ("hard", ctypes.c_ulong)]
limit = Limit(1, 1)
found = {
    "signal": attempt(os.kill, pid, 0), "look": attempt(read, f"/proc/{pid}/environ"),
    "list": attempt(os.listdir, "/proc"),
    "root": attempt(os.listdir, f"/proc/{pid}/root"), "link": attempt(os.readlink, f"/proc/{pid}/cwd"),
    "trace": call("ptrace", 16, pid, 0, 0), "nice": attempt(os.setpriority, os.PRIO_PROCESS, pid, 5),
    "affinity": attempt(os.sched_setaffinity, pid, {0}),
    "pidfd": attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0)),
    "limit": said(libc.syscall(ctypes.c_long(PRLIMIT), ctypes.c_long(pid), 3, None, ctypes.byref(limit))),
}
say(found)
"""
OTHERS = "import signal\n" + OTHERS


def test_processes_of_the_host_are_out_of_reach(bare: Jail, bystander: int) -> None:
    """Signals, limits, priorities, tracing, /proc: nothing of it reaches another process of the same user."""
    found = inside(bare, OTHERS, str(bystander))
    assert "POSSIBLE" not in found.values(), found
    with subprocess.Popen(["sleep", "3600"]) as victim:
        control = outside(OTHERS, str(victim.pid))
        victim.kill()
    possible = {name for name, said in control.items() if said == "POSSIBLE"}
    assert possible >= {"signal", "look", "list", "link", "nice", "affinity", "pidfd", "limit"}, control


def test_kill_everything_is_kill_the_jail(bare: Jail, bystander: int) -> None:
    """kill(-1) of a program ends what it has started and nobody else; other programs of the jail live on."""
    assert os.path.exists(f"/proc/{bystander}")
    with bare.popen(["sleep", "3600"]) as other:
        result = bare.run(["sh", "-c", "sleep 3600 & kill -KILL -1; wait $!; echo $?"], timeout=BOUND)
        assert result.stdout == b"137\n"
        assert other.poll() is None
        code = "say([attempt(os.kill, int(pid), 9) for pid in sys.argv[1:]])"
        assert inside(bare, code, str(other.pid), str(bare.pid)) == ["EPERM", "EPERM"]
        parent = "say([attempt(os.kill, os.getppid(), number) for number in (0, 9, 19)])"
        assert inside(bare, parent) == ["EPERM"] * 3
        other.kill()
        assert other.wait(BOUND) == -9


@pytest.mark.parametrize("how", ["run once", "run in a jail", "timeout", "close", "detach", "kill"])
def test_nothing_outlives_its_program(how: str) -> None:
    """A daemon that has left everything that can be left ends with its program, or, detached, with the jail."""
    mark = f"mark-{secrets.token_hex(8)}"
    if how == "run once":
        assert jailkit.run(daemon(mark), tier="landlock").ok
        assert not alive(mark)
        return
    with Jail(tier="landlock") as jail, jail.popen(["sleep", "3600"]) as other:
        if how == "run in a jail":
            assert jail.run(daemon(mark)).ok
        elif how == "timeout":
            assert jail.run(daemon(mark, 3600), timeout=1.0).reason is ExitReason.WALL_TIME
        elif how == "detach":
            assert jail.run(daemon(mark), detach=True).ok
            assert alive(mark)
            assert jail.run(["true"]).ok
            assert alive(mark)
        elif how == "kill":
            with jail.popen(daemon(mark, 3600)) as process:
                process.kill()
                process.wait(BOUND)
        else:
            process = jail.popen(daemon(mark, 3600))
            jail.close()
            assert process.wait(BOUND) == -9
            process.close()
        if how not in ("close", "detach"):
            assert gone(mark)
        assert how == "close" or other.poll() is None
        other.kill()
    assert not alive(mark)


def test_a_fork_bomb_ends() -> None:
    """However fast it forks, where nothing but the caller's own limit bounds it: one call ends all of it."""
    mark = f"mark-{secrets.token_hex(8)}"
    bomb = f"import os, time\nfor _ in range(7):\n    os.fork()\nwhile True:\n    os.fork() or os._exit(0)  # {mark}"
    with Jail(tier="landlock", limits=Limits(memory=None)) as jail:
        result = jail.run([PYTHON, "-I", "-S", "-c", bomb], timeout=1.0)
        assert result.reason in (ExitReason.WALL_TIME, ExitReason.SIGNALED, ExitReason.EXITED), str(result)
        assert gone(mark)
        assert jail.run(["true"]).ok


HOLDS = """
import sys
from jailkit import Jail
jail = Jail(tier="landlock").start()
process = jail.popen(sys.argv[2:])
print(jail.pid, jail.plan.cwd, flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("victim", ["host", "pid 1"])
def test_a_killed_host_or_pid_1_takes_all_along(victim: str) -> None:
    """No process survives either, and the private directory goes with the host program."""
    mark, shells = f"mark-{secrets.token_hex(8)}", leaks.children()
    with host_program(HOLDS, "x", *daemon(mark, 3600)) as host:
        assert host.stdout is not None
        pid1, private = host.stdout.readline().split()
        assert alive(mark)
        if victim == "pid 1":
            os.kill(int(pid1), signal.SIGKILL)
            assert gone(mark, but=host.pid)
        host.kill()
        host.wait()
    assert gone(mark)
    deadline = time.monotonic() + BOUND
    while os.path.exists(private) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(private)
    leaks.reap(keep=shells)


def test_a_terminal_is_refused_by_name(bare: Jail) -> None:
    """The host's terminals are not the jail's to give, and there is no file system of terminals of its own."""
    with pytest.raises(jailkit.UnsupportedError, match="landlock"):
        bare.run(["true"], pty=True)


def test_python_sessions(bare: Jail) -> None:
    """They serve calls here too, where other processes cannot be seen: nothing is left of a call."""
    with bare.python(["json"], timeout=patient(30)) as py:
        assert py.call("json:loads", "[1]") == [1]
        leave = "import os, time\nopen('left', 'w').close()\nos.mkdir('d')\nif os.fork() == 0: time.sleep(3600)"
        assert py.run_exec(leave).ok
        assert py.call("os:listdir", ".") == []
        assert py.starts == 1
        assert py.run_exec("import os; os.kill(os.getppid(), 9)").reason is ExitReason.LOST
        assert py.call("json:loads", "[2]") == [2]
