"""The tier without namespaces: what is attempted in it, as root with a lent id and as an ordinary user with his own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import Bind, ExitReason, Jail, Limits, SeccompPolicy, UnsupportedError
from tests import leaks
from tests.facts import PYTHON
from tests.inside import host_program, inside, outside
from tests.kernel.test_doctor import CLONE, CLONE3, CLOSE, ENOSYS, EPERM, NEWUSER, UNSHARE

pytestmark = [pytest.mark.requires("python", "landlock6", "libseccomp"), pytest.mark.timeout(180)]

BOUND = 30.0


@pytest.fixture(autouse=True, scope="module")
def _first() -> None:
    """Have what a process keeps from its first jail of this tier on: the shell that looks after its directories."""
    jailkit.run(["true"], tier="landlock")


@pytest.fixture
def bare() -> Iterator[Jail]:
    """A jail without namespaces."""
    with Jail(tier="landlock") as jail:
        yield jail


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
    "signal": attempt(os.kill, pid, 0), "look": attempt(read, f"/proc/{pid}/environ"), "list": attempt(os.listdir, "/proc"),
    "root": attempt(os.listdir, f"/proc/{pid}/root"), "link": attempt(os.readlink, f"/proc/{pid}/cwd"),
    "trace": call("ptrace", 16, pid, 0, 0), "nice": attempt(os.setpriority, os.PRIO_PROCESS, pid, 5),
    "affinity": attempt(os.sched_setaffinity, pid, {0}), "pidfd": attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0)),
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


# --- network and IPC ----------------------------------------------------------------------------------------------

REACH = """
import socket
tcp, path, name = sys.argv[1:]
def pair():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendto(b"x", path)
found = {
    "tcp": attempt(socket.create_connection, ("127.0.0.1", int(tcp)), 10),
    "bind": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))),
    "path": attempt(lambda: socket.socket(socket.AF_UNIX).connect(path)),
    "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect(b"\\0" + name.encode())),
    "datagrams": attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM),
    "pair": attempt(socket.socketpair),
}
say(found)
"""


@pytest.fixture
def services(public: str) -> Iterator[tuple[str, str, str]]:
    """A service of the host on TCP, at a path, and at an abstract name; all of them answer."""
    name, path = f"canary-{secrets.token_hex(8)}", f"{public}/socket"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as by_path:
        by_path.bind(path)
        os.chmod(path, 0o777)
        by_path.listen()
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(b"\0" + name.encode())
            abstract.listen()
            yield str(tcp.getsockname()[1]), path, name


def test_no_service_is_in_reach(bare: Jail, services: tuple[str, str, str]) -> None:
    """By default no socket can be made but a connected pair; the same lines outside reach all of them."""
    found = inside(bare, REACH, *services)
    assert {name for name, said in found.items() if said == "POSSIBLE"} == {"pair"}
    assert set(outside(REACH, *services).values()) == {"POSSIBLE"}


def test_landlock_stands_behind_the_filter(services: tuple[str, str, str]) -> None:
    """Where the caller's policy opens socket(2), TCP and abstract sockets are still closed, and the report says less."""
    with Jail(tier="landlock", seccomp=SeccompPolicy().add("socket")) as jail:
        found = inside(jail, REACH, *services)
        states = {item.name: item.state for item in jail.isolation}
    assert (found["tcp"], found["bind"], found["abstract"]) == ("EACCES", "EACCES", "EPERM")
    assert found["path"] == found["udp"] == "POSSIBLE"
    assert states["network"] == "degraded"


def test_the_hosts_network(services: tuple[str, str, str]) -> None:
    """Asked for by name it is there, and sockets at paths and abstract names are not."""
    with Jail(tier="landlock", net="host") as jail:
        found = inside(jail, REACH, *services)
        assert {item.name: item.state for item in jail.isolation}["network"] == "absent"
    assert {name for name, said in found.items() if said == "POSSIBLE"} == {"tcp", "bind", "udp", "pair"}


def test_ipc_of_the_host_is_out_of_reach(bare: Jail) -> None:
    """No queue, no shared memory, no key of the host."""
    code = """
calls = {"shmget": (29 if X86 else 194, 0, 4096, 0o1600), "add_key": (248 if X86 else 217, 0, 0, 0, 0),
         "mq_open": (240 if X86 else 180, 0, 0o102, 0o600, 0)}
say([said(libc.syscall(*map(ctypes.c_long, words))) for words in calls.values()]
    + [attempt(open, "/dev/shm/x", "w"), call("unshare", 0x10000000)])
"""
    assert inside(bare, code) == ["EPERM", "EPERM", "EPERM", "EACCES", "EPERM"]


# --- limits, and places without namespaces ------------------------------------------------------------------------


def test_limits_hold(bare: Jail) -> None:
    """What setrlimit(2) bounds, the clock and the output are bounded as in every tier."""
    assert bare.run(["sh", "-c", "yes | head -c 100000 > f"], limits=Limits(file_size=1000)).returncode != 0
    assert bare.run(["sh", "-c", "while :; do :; done"], limits=Limits(cpu_seconds=1), timeout=BOUND).reason in (
        ExitReason.CPU_TIME, ExitReason.SIGNALED,
    )  # fmt: skip
    assert bare.run(["yes"], limits=Limits(output=10_000), timeout=BOUND).reason is ExitReason.OUTPUT
    assert bare.run(["sleep", "3600"], timeout=0.2).reason is ExitReason.WALL_TIME


def test_the_filter_is_closed_to_the_letter(bare: Jail) -> None:
    """No program has a capability or can gain one, and each is under a filter and no_new_privs."""
    code = "say([libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0), os.getuid(), os.geteuid()])"
    # PR_GET_SECCOMP would be 2, asked in mode 2 where the filter allows prctl.
    uid = bare.plan.ids.pid1
    assert inside(bare, code) == [1, 2, uid, uid]
    assert uid != 0 or os.geteuid() != 0


WITHOUT = """
import jailkit
try:
    print(jailkit.run(["true"]).ok)
except jailkit.JailkitError as error:
    print('tier="landlock"' in str(error))
result = jailkit.run(["sh", "-c", "echo inside; cat /etc/shadow; cat /proc/self/status || echo no proc"], tier="landlock")
print(result.stdout)
"""


@pytest.mark.parametrize("place", ["filter", "no user namespaces"])
def test_where_no_namespace_can_be_had(place: str) -> None:
    """Behind a container's filter, and with none left to make: the default fails and names this tier, which works."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT]
    if place == "filter":
        words = (f"{UNSHARE}:{EPERM}", f"{CLONE3}:{ENOSYS}", f"{CLONE}&{NEWUSER:x}:{EPERM}")
        command = [sys.executable, "-c", CLOSE, *words, "--", *command]
    else:
        script = 'set -e; echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
        command = ["unshare", "-Ur", "sh", "-c", script, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", r"b'inside\nno proc\n'"]


@pytest.mark.requires("root")
def test_root_without_the_right_to_become_somebody_else_is_refused() -> None:
    """The jail's user would be the host's root."""
    code = "import jailkit; jailkit.run(['true'], tier='landlock')"
    drop = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-all", sys.executable, "-c", code]
    done = subprocess.run(drop, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert "CAP_SETUID" in done.stderr
    assert "UnsupportedError" in done.stderr


def test_nothing_is_chosen_silently() -> None:
    """Without a word about it a jail has namespaces, and asked for another tier's things this one refuses."""
    assert Jail().plan.tier in ("root", "userns")
    with pytest.raises(UnsupportedError):
        _ = Jail("/srv", tier="landlock").plan
