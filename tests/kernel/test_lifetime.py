"""A jail lives as long as its owner has it open, and not longer, however the owner ends."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import Jail
from tests import leaks
from tests.inside import host_program
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

BOUND = patient(30)


def forked(work: object) -> int:
    """Do something in a fork of this process; return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = work()  # type: ignore[operator]
        finally:
            os._exit(code)
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the fork hangs")


def test_a_fork_has_no_jail(sandbox: Jail) -> None:
    """In the child every use is a ClosedError, close does nothing, and the parent's jail goes on."""

    def child() -> int:
        problems = 0 if sandbox.closed else 1
        for use in (lambda: sandbox.run(["true"]), lambda: sandbox.popen(["true"]), lambda: sandbox.get("/etc/passwd")):
            try:
                use()
            except jailkit.ClosedError:
                continue
            problems += 2
        sandbox.close()
        return problems

    with sandbox.popen(["sleep", "3600"]) as process:
        assert forked(child) == 0
        assert process.poll() is None
        assert sandbox.run(["echo", "alive"]).stdout == b"alive\n"
        process.kill()


def test_a_fork_has_no_process(sandbox: Jail) -> None:
    """The child can neither signal nor kill the parent's program, nor end it by its own end."""
    with sandbox.popen(
        ["sh", "-c", "trap 'echo signalled' TERM USR1; echo up; while :; do sleep 0.05; done"]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"

        def child() -> int:
            for use in (
                process.kill,
                process.terminate,
                lambda: process.send_signal(signal.SIGUSR1),
                process.poll,
                process.close,
            ):
                with contextlib.suppress(jailkit.ClosedError):
                    use()
            try:
                process.wait(0.1)
            except (jailkit.ClosedError, jailkit.WaitTimeout):
                return 0
            return 5

        assert forked(child) == 0
        sandbox.run(["sleep", "0.2"])
        assert process.poll() is None
        process.kill()
        assert process.stdout.read() == b""
        assert process.wait(BOUND) == -signal.SIGKILL


def test_a_fork_may_have_jails_of_its_own(sandbox: Jail) -> None:
    """What the child makes is the child's."""

    def child() -> int:
        with Jail() as jail:
            return 0 if jail.run(["true"]).ok and jailkit.run(["true"]).ok else 1

    assert forked(child) == 0
    assert sandbox.run(["true"]).ok


def test_a_jail_ends_with_its_owner_although_a_fork_lives_on() -> None:
    """The child inherits every descriptor, and none of them keeps the jail."""
    before = leaks.snapshot()
    jail = Jail().start()
    process = jail.popen(["sleep", "3600"])
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)
        os._exit(0)
    try:
        os.close(ready)
        process.close()
        jail.close()
        before |= {(kind, what) for kind, what in leaks.snapshot() if what.startswith(f"{pid} ") or f"{go} -> " in what}
        assert leaks.left_since(before) == []
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    finally:
        os.close(go)
        os.waitpid(pid, 0)


def survivors(token: str) -> list[int]:
    """Return the processes that have a word in their arguments or their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            for file in ("cmdline", "environ"):
                with contextlib.suppress(OSError), open(f"/proc/{name}/{file}", "rb") as text:
                    if token.encode() in text.read():
                        found.append(int(name))
    return found


@pytest.fixture
def token() -> Iterator[str]:
    """A word that no other process has; whoever has it at the end is a survivor."""
    word = f"token-{secrets.token_hex(12)}"
    mine = leaks.children()
    yield word
    left = leaks.reap(keep=mine)
    gone = survivors(word)
    for pid in {*left, *gone}:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    leaks.reap(keep=mine)
    assert (left, gone) == ({}, [])


BUSY = """
token = sys.argv[1]
script = f"setsid sh -c 'sleep 3600; : {token}' & sleep 3600; : {token}"
env = {"TOKEN": token}
print("ready", flush=True)
while True:
    with jailkit.Jail(env=env) as jail:
        processes = [jail.popen(["sh", "-c", script]) for _ in range(3)]
        jail.run(["sh", "-c", f"sleep 3600 & : {token}"], detach=True)
        jail.put(b"x", "/tmp/x")
        for process in processes:
            process.kill()
            process.close()
    jailkit.run(["sh", "-c", f"sleep 0.002; : {token}"], env=env)
"""


def test_nothing_survives_the_death_of_the_host_program(token: str) -> None:
    """SIGKILL at thirty random moments; every process of every jail is gone, and so is PID 1."""
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    mine = leaks.children()
    for turn in range(30):
        with host_program(BUSY, token) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.08))
            host.kill()
        assert leaks.reap(keep=mine) == {}, f"turn {turn} of seed {seed}"
        assert survivors(token) == [], f"turn {turn} of seed {seed}"


STAGES = ("start", "run", "popen", "put", "get", "close", "once")


def live_through_all(tell: int, token: str) -> None:
    """Do everything that can be done with a jail, for ever, and say each time what comes now."""
    env = {"TOKEN": token}
    while True:
        os.write(tell, b"0")
        jail = Jail(env=env).start()
        os.write(tell, b"1")
        jail.run(["sh", "-c", f"setsid sleep 3600 & : {token}"], detach=True)
        os.write(tell, b"2")
        process = jail.popen(["sh", "-c", f"sleep 3600; : {token}"])
        os.write(tell, b"3")
        jail.put(b"x" * 5000, "/tmp/x")
        os.write(tell, b"4")
        jail.get("/tmp/x")
        os.write(tell, b"5")
        jail.close()
        process.close()
        os.write(tell, b"6")
        jailkit.run(["sh", "-c", f": {token}"], env=env)


def killed_at(stage: int, delay: float, token: str) -> None:
    """Have a host program killed so many seconds after it has come to a stage."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(hear)
            live_through_all(tell, token)
        finally:
            os._exit(70)
    os.close(tell)
    try:
        while os.read(hear, 1) != b"%d" % stage:
            pass
        time.sleep(delay)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(hear)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.timeout(400)
def test_nothing_survives_death_at_200_moments(token: str) -> None:
    """Spread over all that a host program does with a jail: its start, programs, files, its end."""
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    mine = leaks.children()
    for turn in range(200):
        killed_at(turn % len(STAGES), moments.uniform(0, 0.006), token)
        where = f"turn {turn} of seed {seed}, at {STAGES[turn % len(STAGES)]}"
        assert leaks.reap(keep=mine) == {}, where
        if turn % 10 == 9:
            assert survivors(token) == [], where


HOLD = """
token = sys.argv[1]
jail = jailkit.Jail(env={"TOKEN": token}).start()
process = jail.popen(["sh", "-c", f"setsid sleep 3600 & sleep 3600; : {token}"])
jail.run(["sh", "-c", "sleep 3600 &"], detach=True)
print("ready", flush=True)
sys.stdin.readline()
"""
ENDS = {
    "returns": "",
    "exits": "os._exit(3)",
    "is ended by SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "crashes": "os.kill(os.getpid(), signal.SIGSEGV)",
    "raises": "raise SystemExit(3)",
    "executes something else": "os.execv('/bin/sleep', ['sleep', '0.5'])",
    "ends in a thread": "import threading; threading.Thread(target=os._exit, args=(3,)).start(); time.sleep(60)",
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_survives_any_end_of_the_host_program(token: str, end: str) -> None:
    """However it goes, the jail goes with it."""
    mine = leaks.children()
    with host_program(HOLD + ENDS[end], token) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        assert len(survivors(token)) >= 3  # the host program, and what runs in the jail
        host.communicate("\n", timeout=BOUND)
    assert leaks.reap(keep=mine) == {}


WAITER = """
import threading
def wait_for_all():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0005)
threading.Thread(target=wait_for_all, daemon=True).start()
"""


@pytest.mark.parametrize(
    "before",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})",
        WAITER,
        "os.setpgid(0, 0)\nos.close(0)",
    ],
    ids=["ignores SIGCHLD", "dies of SIGPIPE", "blocks all signals", "waits for all children", "has no stdin"],
)
def test_a_host_program_with_habits_of_its_own(before: str) -> None:
    """Whatever a program does with its signals and its children, jails work in it."""
    code = f"""
{before}
with jailkit.Jail() as jail:
    assert jail.run(["sh", "-c", "exit 3"]).returncode == 3
    assert jail.run(["true"], input=b"x" * 1_000_000).ok
    with jail.popen(["sleep", "3600"]) as process:
        process.kill()
        assert process.wait(600) == -9
    with jail.popen(["true"], stdin=jailkit.PIPE) as process:
        process.communicate(b"x" * 1_000_000, timeout=600)
    assert jail.run(["sleep", "3600"], timeout=0.2).reason.name == "WALL_TIME"
    jail.put(b"x", "/tmp/x")
assert jailkit.run(["sh", "-c", "exit 4"]).returncode == 4
print("done")
"""
    mine = leaks.children()
    with host_program(code) as host:
        out, err = host.communicate(timeout=BOUND)
    assert (out, err, host.returncode) == ("done\n", "", 0)
    assert leaks.reap(keep=mine) == {}
