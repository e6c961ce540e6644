"""How a program begins: descriptors, variables, signals, session, directory."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import Jail
from tests.inside import inside, outside

pytestmark = pytest.mark.requires("userns", "python")


def test_the_environment_is_clean(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what a login gives and nothing of the host; the jail's variables and the run's come on top."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sings")
    code = "say(dict(os.environ))"
    assert outside(code)["AWS_SECRET_ACCESS_KEY"] == "sings"
    seen = inside(jail, code)
    assert seen.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python sets it by itself
    assert seen.keys() == {"PATH", "HOME", "USER", "LOGNAME", "LANG"}
    with Jail(level=jail.spec.level, env={"ONE": "jail", "TWO": "jail"}) as made:
        seen = inside(made, code, env={"TWO": "run", "THREE": ""})
    assert (seen["ONE"], seen["TWO"], seen["THREE"]) == ("jail", "run", "")


@contextlib.contextmanager
def strange_host() -> Iterator[None]:
    """A host program that ignores, blocks and masks whatever it can."""
    numbers = [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTOU]
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    blocked = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGRTMIN, signal.SIGUSR2}
    )
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in kept.items():
            signal.signal(number, handler)


def signals_of(text: str) -> dict[str, int]:
    """Read the three sets of signals of a /proc/self/status."""
    fields = dict(line.split(":\t") for line in text.splitlines())
    return {name: int(fields[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")}


def test_signals_start_at_their_defaults(jail: Jail) -> None:
    """Nothing is ignored and nothing blocked, whatever the host program does; SIGPIPE ends a writer."""
    none = {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}
    show = ["cat", "/proc/self/status"]
    with strange_host():
        with Jail(level=jail.spec.level) as made:
            assert signals_of(made.run(show, text=True).stdout) == none
            with made.popen(show, text=True) as process:
                assert signals_of(process.communicate()[0]) == none
        assert signals_of(jail.run(show, text=True).stdout) == none
        assert signals_of(jailkit.run(show, text=True).stdout) == none
        import subprocess

        assert signals_of(subprocess.run(show, capture_output=True, text=True, check=True).stdout) != none
    assert jail.run(["sh", "-c", "kill -PIPE $$; echo alive"]).returncode == -signal.SIGPIPE


def test_umask_session_and_directory(jail: Jail) -> None:
    """A fixed umask, a session of its own, the home as its directory."""
    code = "say([os.umask(0), os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.getcwd()])"
    with strange_host():
        assert inside(jail, code) == [0o022, True, True, jail.spec.effective_user.home]
    assert inside(jail, code, cwd="/tmp")[3] == "/tmp"
    assert inside(jail, "say(os.getcwd())", cwd="/proc/self/root") == "/"


def test_the_home_is_the_user_s_own(jail: Jail) -> None:
    """It can be written to, and it is empty."""
    code = "home = os.environ['HOME']; say([os.listdir(home), attempt(open, home + '/new', 'w'), os.stat(home).st_uid])"
    assert inside(jail, code) == [[], "POSSIBLE", jail.spec.effective_user.uid]


def test_names_resolve(sandbox: Jail) -> None:
    """Users, groups and the jail itself have names, without asking anybody."""
    code = """
    import grp, pwd, socket
    say([pwd.getpwuid(1000)[0], grp.getgrgid(1000)[0], pwd.getpwnam("root")[2], socket.gethostbyname("localhost")])
    """
    assert inside(sandbox, code) == ["jail", "jail", 0, "127.0.0.1"]


def test_a_low_limit_of_the_host_program_is_enough() -> None:
    """A host program with few descriptors left, and high numbers in use, still runs programs."""
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 40, hard))
        assert jailkit.run(["echo", "x"]).stdout == b"x\n"
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, hard))
        with pytest.raises(OSError, match="Too many open files"):
            jailkit.run(["echo", "x"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_host_program_without_standard_streams(closed: tuple[int, ...]) -> None:
    """Descriptors that get the numbers 0, 1 and 2 are not confused with the program's."""
    kept = [(number, os.dup(number)) for number in closed]
    try:
        for number in closed:
            os.close(number)
        with Jail() as jail:
            result = jail.run(["sh", "-c", "cat; echo err >&2"], input=b"in")
            once = jailkit.run(["sh", "-c", "cat; echo err >&2"], input=b"in")
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
    assert (result.stdout, result.stderr) == (once.stdout, once.stderr) == (b"in", b"err\n")


def kept() -> tuple[set[int], int]:
    """Return the descriptors of this process, and how many children it has, the dead included."""
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return numbers, len(file.read().split())


def test_a_live_jail_costs_one_process_and_two_descriptors() -> None:
    """No zombie is left of the start; its descriptors are above those that come and go, and no start copies them."""
    with Jail():  # what the first jail of a program leaves behind for all others (a janitor)
        pass
    before, children = kept()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Jail())
        after, now = kept()
        more = after - before
        assert (len(more), now - children) == (10, 5)
        assert min(more) >= 256
    assert kept() == (before, children)


def test_a_start_takes_nothing_of_the_caller_along() -> None:
    """Whatever the caller has open, below and above what the start needs: all of it stays, and none of it is inside."""
    names = "say(sorted(os.listdir('/proc/self/fd')))"
    with contextlib.ExitStack() as stack:
        low = [stack.enter_context(open("/dev/null", "rb")) for _ in range(50)]
        high = os.dup2(low[0].fileno(), 900, inheritable=True)
        stack.callback(os.close, high)
        with Jail() as jail:
            assert inside(jail, names) == ["0", "1", "2", "3"]  # the last one is the directory itself
        assert [os.fstat(one.fileno()).st_rdev for one in low] == [os.fstat(high).st_rdev] * 50
        assert os.get_inheritable(high)
