"""Code in a Python session that wants more than its call: it fails, and the next call is as if it had never been."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from jailkit import CallResult, ExitReason, Jail, KiB, Limits, MiB, PythonSession, RemoteError
from jailkit.python import exchange, link
from jailkit.python.wire import encode
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")

BOUND = patient(30)
SERVER = "import os, signal, sys, time\nserver = os.getppid()\n"


@pytest.fixture
def py(sandbox: Jail) -> Iterator[PythonSession]:
    """A session in a jail with all defaults."""
    with sandbox.python(timeout=BOUND) as session:
        yield session


def after(py: PythonSession, source: str, **bounds: Any) -> CallResult:
    """Run hostile code; then a call that finds everything as it was at first."""
    result = py.within(**bounds).run_exec(SERVER + source)
    assert py.exec(LOOK) == CLEAN
    return result


def meets(py: PythonSession, source: str, reason: ExitReason, *, ok: bool = False, starts: int = 1) -> CallResult:
    """Do that, and look how it ended, and how often an interpreter had to be started."""
    result = after(py, source)
    assert (result.reason, result.ok) == (reason, ok), result
    assert py.starts == starts
    return result


LOOK = """
import ctypes, os, signal, sys, threading
def alive(pid):  # who is dead may wait to be collected
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
pids = {int(name) for name in os.listdir("/proc") if name.isdigit() and alive(name)}
others = len(pids - {1, os.getppid(), os.getpid()})
files = os.listdir("/tmp") + os.listdir("/dev/shm") + os.listdir(os.path.expanduser("~"))
descriptors = len(os.listdir("/proc/self/fd")) - 1  # without that of the look
ipc = sum(len(open(f"/proc/sysvipc/{name}").readlines()) - 1 for name in ("shm", "sem", "msg"))
threads = threading.active_count()
nice, processors = os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0))
marks = [name for name in ("mark", "hostile") if name in sys.modules or name in os.environ or hasattr(os, name)]
cwd = os.getcwd()
del pids, alive
"""
CLEAN = {
    "others": 0,
    "files": [],
    "descriptors": 4,  # stdin, stdout, stderr, the way to answer
    "ipc": 0,
    "threads": 1,
    "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "processors": len(os.sched_getaffinity(0)),
    "marks": [],
    "cwd": "/home/jail",
}


def test_the_look_sees_what_it_looks_for(py: PythonSession) -> None:
    """The positive control: what a call leaves to itself, it sees."""
    mess = (
        "import subprocess, threading, ctypes\n_child = subprocess.Popen(['sleep', '3600'])\n"
        "for place in ('/tmp', '/dev/shm', os.path.expanduser('~')): open(place + '/mark', 'w').close()\n"
        "_fd = os.open('/dev/null', 0)\nctypes.CDLL(None).shmget(7, 4096, 0o1600)\n"
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        "os.nice(1); os.environ['mark'] = '1'; os.hostile = 1; os.chdir('/')\n"
    )
    seen = py.exec(SERVER + mess + LOOK)
    assert {name for name, value in CLEAN.items() if seen[name] != value} >= CLEAN.keys() - {"processors", "ipc"}
    assert seen["files"] == ["mark"] * 3
    assert py.exec(LOOK) == CLEAN
    assert py.starts == 1


LEAVE = {
    "a module": "import types; sys.modules['mark'] = types.ModuleType('mark'); os.hostile = 1",
    "a variable": "os.environ['mark'] = os.environ['hostile'] = '1'",
    "a directory": "os.chdir('/'); os.umask(0)",
    "a thread": "import threading; threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
    "a child": "import subprocess; subprocess.Popen(['sleep', '3600'])",
    "a daemon": """
for _ in range(3):
    if os.fork():
        break
    os.setsid()
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)
""",
    "files": """
for place in ("/tmp", "/dev/shm", os.path.expanduser("~")):
    os.makedirs(place + "/a/b/c")
    open(place + "/a/b/file", "w").write("x")
    os.symlink("/etc", place + "/a/link")
    os.mkfifo(place + "/fifo")
    os.chmod(place + "/a/b", 0)
    os.chmod(place + "/a", 0)
""",
    "many files": "for n in range(5000): open(f'/tmp/{n}', 'w').close()",
    "a full disk": """
try:
    open("/tmp/big", "wb").write(bytes(300 << 20))
except OSError:
    pass
""",
    "objects of System V": """
import ctypes
libc = ctypes.CDLL(None)
libc.shmget(7, 4096, 0o1600), libc.semget(7, 1, 0o1600), libc.msgget(7, 0o1600)
""",
    "limits": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))",
    "copies of itself": "os.fork(); os.fork()",
}


@pytest.mark.parametrize("source", LEAVE.values(), ids=LEAVE)
def test_nothing_of_a_call_is_seen_by_the_next(py: PythonSession, source: str) -> None:
    """And the interpreter did not even have to be started again; the call itself has done nothing wrong."""
    meets(py, source, ExitReason.EXITED, ok=True)


END = {
    "killed": ("os.kill(os.getpid(), 9)", ExitReason.SIGNALED),
    "ended": ("os._exit(0)", ExitReason.EXITED),
    "with another code": ("os._exit(9)", ExitReason.EXITED),
    "crashed": ("import ctypes; ctypes.string_at(0)", ExitReason.SIGNALED),
    "its answer closed": ("os.closerange(3, 100)", ExitReason.EXITED),
    "everything closed": ("os.closerange(0, 100)", ExitReason.EXITED),
}


@pytest.mark.parametrize(("source", "reason"), END.values(), ids=END)
def test_a_call_that_ends_itself(py: PythonSession, source: str, reason: ExitReason) -> None:
    """No answer is no value, whatever its exit code says."""
    assert meets(py, source, reason).value is None


SERVER_ATTACKS = {
    "killed": "os.kill(server, 9); time.sleep(3600)",
    "asked to end": "os.kill(server, signal.SIGTERM); time.sleep(3600)",
    "interrupted": "os.kill(server, signal.SIGINT); time.sleep(3600)",
    "everything killed": "os.kill(-1, 9); time.sleep(3600)",
    "everything of its group": "os.killpg(os.getpgid(server), 9); time.sleep(3600)",
}


@pytest.mark.parametrize("source", SERVER_ATTACKS.values(), ids=SERVER_ATTACKS)
def test_a_call_that_ends_its_server(py: PythonSession, source: str) -> None:
    """That call is lost, and the next one has a new interpreter."""
    meets(py, source, ExitReason.LOST, starts=2)


def test_a_call_that_changes_its_server(py: PythonSession) -> None:
    """How nice it is and where it may run can be changed from outside: then it is not used again."""
    for number, source in enumerate(("os.setpriority(os.PRIO_PROCESS, server, 5)", "os.nice(1)")):
        assert after(py, source).ok
        assert py.starts == 2, number


def test_a_call_that_stops_its_server(py: PythonSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is not waited for longer than a bound."""
    monkeypatch.setattr(exchange, "_GRACE_SECONDS", 1.0)
    stop = "os.kill(server, signal.SIGSTOP)"
    result = after(py, stop)
    assert (result.reason, result.ok) == (ExitReason.LOST, False)
    result = after(py, stop + "\nwhile True: pass", timeout=1)
    assert result.reason is ExitReason.WALL_TIME
    assert py.starts == 3


def test_an_interpreter_without_ctypes_serves_one_call(sandbox: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can neither hide its memory nor adopt orphans: each call gets a new one, and finds nothing of the last."""
    sources = link._sources()
    assert b"import ctypes " in sources
    monkeypatch.setattr(link, "_sources", lambda: sources.replace(b"import ctypes ", b"import c_types"))
    with sandbox.python(timeout=BOUND) as py:
        for number in (1, 2, 3):
            assert py.call("builtins:abs", -number) == number
            assert py.starts == number
        daemon = "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(3600)"
        assert after(py, daemon).ok


def test_a_call_cannot_look_into_its_server(py: PythonSession) -> None:
    """Nor into its descriptors or memory, by which it could take its place."""
    tries = """
found = []
for what in ("fd", "mem", "maps", "environ", "cwd", "root"):
    try:
        if what == "fd":
            os.listdir(f"/proc/{server}/fd")
        elif what in ("cwd", "root"):
            os.readlink(f"/proc/{server}/{what}")
        else:
            open(f"/proc/{server}/{what}", "r+b" if what == "mem" else "rb").read(1)
        found.append(what)
    except OSError:
        pass
"""
    assert py.exec(SERVER + tries)["found"] == []


FORGE = """
import struct
def write(data):
    for number in range(3, 20):
        try:
            os.write(number, data)
        except OSError:
            pass
"""
FORGED = {
    "nonsense": "write(b'x' * 100)",
    "half a head": "write(b'x' * 10); os._exit(0)",
    "an old token": "write(bytes(16) + struct.pack('!I', 1) + b'N'); os._exit(0)",
    "too long a length": "write(bytes(16) + b'\\xff' * 4 + b'N' * 1000)",
    "a second answer": "write(b'N')",
}


@pytest.mark.parametrize("source", FORGED.values(), ids=FORGED)
def test_a_forged_answer(py: PythonSession, source: str) -> None:
    """Whatever is written where the answer belongs makes it invalid, and is of no meaning for any other call."""
    result = meets(py, FORGE + source, ExitReason.EXITED)
    assert result.value is None
    assert "without a valid answer" in str(result.error)


def test_a_flood_of_answer(py: PythonSession) -> None:
    """More than an answer may have ends the call, in bounded memory."""
    meets(py, FORGE + "while True: write(bytes(1 << 16))", ExitReason.OUTPUT)


def test_floods(py: PythonSession) -> None:
    """Output, recursion, messages."""
    flood = "while True: os.write(1, bytes(1 << 16))"
    assert after(py, flood, limits=Limits(output=100 * KiB)).reason is ExitReason.OUTPUT
    error = after(py, "def f(): f()\nf()").error
    assert isinstance(error, RemoteError)
    assert (error.type_name, len(error.traceback) < 40000) == ("RecursionError", True)
    error = after(py, "class E(Exception):\n  def __str__(self): return 'x' * 10**7\nraise E").error
    assert isinstance(error, RemoteError)
    assert (error.type_name, len(error.message)) == ("__main__.E", 8192)
    error = after(py, "class E(Exception):\n  def __str__(self): os._exit(1) if 0 else 1/0\nraise E").error
    assert isinstance(error, RemoteError)
    assert error.message == "<no message: ZeroDivisionError>"


def test_a_fork_bomb() -> None:
    """It is ended, by the server or with it, and the next call is served."""
    with Jail(limits=Limits(processes=40)) as jail, jail.python(timeout=BOUND) as py:
        bomb = after(py, "while True:\n  try: os.fork()\n  except OSError: pass", timeout=1)
        assert (bomb.ok, bomb.reason) == (False, ExitReason.WALL_TIME)


@pytest.mark.requires("cgroups")
def test_a_call_that_uses_up_the_memory(sandbox: Jail) -> None:
    """The kernel ends it, and the reason is MEMORY, in a session with a bound of its own and in a jail's."""
    hog = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    with sandbox.python(limits=Limits(memory=64 * MiB, swap=0), timeout=BOUND) as py:
        assert after(py, hog).reason is ExitReason.MEMORY
        assert after(py, hog).reason is ExitReason.MEMORY
    with Jail(limits=Limits(memory=64 * MiB)) as jail, jail.python(timeout=BOUND) as py:
        assert after(py, hog).reason is ExitReason.MEMORY
        assert after(py, "os.kill(os.getpid(), 9)").reason is ExitReason.SIGNALED


BOOT = """
import os, socket, struct, sys, time
s = socket.socket(fileno=os.dup(0))
def done(token, status=0):
    report = struct.pack('!16sBiddQ', token, 0, status, 0., 0., 0)
    s.sendall(struct.pack('!BI', 2, len(report)) + report)
def answer(fd, token, body):
    os.write(fd, token + struct.pack('!I', len(body)) + body)
time.sleep(.2)
s.recv(1 << 20)
s.sendall(struct.pack('!BI', 1, 5) + b'b' + bytes(4))
data, fds, _, _ = socket.recv_fds(s, 1 << 16, 3)
token, reply = data[1:17], fds[0]
"""
GOOD = encode(("value", 7))
HOSTILE = {
    "an answer of another call": f"answer(reply, bytes(16), {GOOD!r}); done(token)",
    "the end of another call": f"answer(reply, token, {GOOD!r}); done(bytes(16))",
    "a value that is none": "answer(reply, token, b'x'); done(token)",
    "not a pair": "answer(reply, token, b'N'); done(token)",
    "an error of other types": "answer(reply, token, b't\\0\\0\\0\\1N'); done(token)",
    "two answers": f"answer(reply, token, {GOOD!r}); answer(reply, token, {GOOD!r}); done(token)",
    "an answer by another way": f"answer(fds[1], token, {GOOD!r}); done(token)",
    "an endless message": "s.sendall(b'\\2' + b'\\xff' * 4)\nwhile 1: s.sendall(bytes(9999))",
    "nonsense": "s.sendall(bytes(3000))",
    "gone": "",
    "an answer, and gone": f"answer(reply, token, {GOOD!r})",
}


def served_by(py: PythonSession, monkeypatch: pytest.MonkeyPatch, words: str, timeout: float = 3) -> CallResult:
    """Make a call of a server in hostile hands: it says what a test wants."""
    py.interrupt()
    with monkeypatch.context() as patch:
        patch.setattr(link, "_BOOT", BOOT + words)
        return py.within(timeout=timeout).run_call("builtins:abs", [-1])


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_server(py: PythonSession, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Even the server is not believed: what it says wrong is an error of that call, and nothing else."""
    monkeypatch.setattr(exchange, "_GRACE_SECONDS", 1.0)
    result = served_by(py, monkeypatch, words)
    assert (result.ok, result.value) == (False, None)
    py.interrupt()
    assert py.call("builtins:abs", -1) == 1


def test_the_hostile_server_can_be_good(py: PythonSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: the same words in order are a value."""
    words = f"answer(reply, token, {GOOD!r}); done(token)\ntime.sleep(3600)"
    assert served_by(py, monkeypatch, words, BOUND).value == 7
