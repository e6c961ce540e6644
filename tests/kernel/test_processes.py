"""A jail has processes of its own, and PID 1 of it is out of reach of all the others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import ExitReason, Jail, Level
from tests.inside import inside, outside, program
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")

LIST = """
found = {}
for name in os.listdir("/proc"):
    if name.isdigit():
        with contextlib.suppress(OSError):
            found[name] = read(f"/proc/{name}/cmdline").replace(b"\\0", b" ").decode(errors="replace")
say(found)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the host, of the same user, that a jail must neither see nor end."""
    with subprocess.Popen(["sleep", "3600.25"]) as process:
        yield process
        assert process.poll() is None
        process.kill()


def test_only_processes_of_the_jail_are_visible(jail: Jail, sleeper: subprocess.Popen[bytes]) -> None:
    """PID 1, the program, and no other; on the host the same program sees the rest."""
    assert "3600.25" in outside(LIST)[str(sleeper.pid)]
    seen = inside(jail, LIST)
    assert "1" in seen
    assert len(seen) == 2
    assert not [line for line in seen.values() if "3600.25" in line]


def test_no_process_of_the_host_can_be_signalled(jail: Jail, sleeper: subprocess.Popen[bytes]) -> None:
    """Neither by its number, nor by a signal to everybody."""
    code = (
        "say([attempt(os.kill, int(sys.argv[1]), 0), attempt(os.kill, -1, 9), attempt(os.kill, int(sys.argv[1]), 9)])"
    )
    assert outside("say(attempt(os.kill, int(sys.argv[1]), 0))", str(sleeper.pid)) == "POSSIBLE"
    assert inside(jail, code, str(sleeper.pid + 100_000)) == ["ESRCH", "ESRCH", "ESRCH"]
    assert inside(jail, code, str(sleeper.pid))[::2] == ["ESRCH", "ESRCH"]


PEEK = """
pid, wanted = sys.argv[1:]
paths = {name: f"/proc/{pid}/{name}" for name in wanted.split()}
def look(path):
    if os.path.basename(path) in ("exe", "root", "cwd"):
        return os.readlink(path)
    if os.path.basename(path) in ("fd", "map_files"):
        return os.listdir(path)
    if os.path.basename(path) == "mem":
        return os.close(os.open(path, os.O_RDONLY))
    return read(path, 64)
say({**{name: attempt(look, path) for name, path in paths.items()},
     "ptrace": call("ptrace", 16, int(pid), 0, 0) if pid.isdigit() else "POSSIBLE"})
"""
SECRETS = "mem fd exe environ root cwd maps auxv"


def test_pid_1_shows_nothing_of_itself(jail: Jail) -> None:
    """Not its memory, which was the host's, its descriptors or its root; not even to the jail's superuser."""
    names = [*SECRETS.split(), "ptrace"]
    tried = inside(jail, PEEK, "1", SECRETS)
    assert {tried.pop("ptrace")} <= {"EPERM", "EACCES"}
    assert set(tried.values()) <= {"EACCES", "EPERM"}
    with jail.popen(["sleep", "60"]) as other:
        number = [pid for pid, line in inside(jail, LIST).items() if "sleep 60" in line]
        control = inside(jail, PEEK, number[0], SECRETS)
        other.kill()
    # Another program of the same user can be looked at, attached to as well where nothing on the host forbids it.
    assert {name: control[name] for name in names if name != "ptrace"} == dict.fromkeys(SECRETS.split(), "POSSIBLE")


def test_a_program_that_has_not_been_executed_yet_shows_nothing(jail: Jail) -> None:
    """While PID 1 starts programs, whoever looks at each new process never sees the copy of PID 1 that it begins as."""
    code = """
    mine, found = os.getpid(), []
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for name in os.listdir("/proc"):
            if name.isdigit() and name != str(mine):
                with contextlib.suppress(OSError):
                    found.append(os.readlink(f"/proc/{name}/exe"))
    say(sorted(set(found)))
    """
    with jail.popen(["sh", "-c", "sleep 600"]) as busy, contextlib.ExitStack():
        spy = jail.popen(["python3", "-I", "-S", "-c", "import time; time.sleep(600)"])
        with spy:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(1) as pool:
                found = pool.submit(inside, jail, code)
                while not found.done():
                    jail.run(["/bin/true"]).check()
            spy.kill()
        busy.kill()
    names = {os.path.basename(path) for path in found.result()}
    assert any(name.startswith("python3") for name in names)
    assert not [name for name in names if "jailkit" in name]


ATTACK_PID1 = """
numbers = [n for n in range(1, 65) if n not in (32, 33)]
say([attempt(os.kill, 1, n) for n in numbers])
"""


def test_pid_1_ignores_the_signals_of_the_jail(jail: Jail) -> None:
    """What its own programs send it, SIGKILL and SIGSTOP included, does nothing to it."""
    answers = inside(jail, ATTACK_PID1)
    assert set(answers) <= {"POSSIBLE", "EPERM"}
    assert jail.run(["echo", "alive"]).stdout == b"alive\n"
    with jail.popen(["sleep", "60"]) as other:
        number = next(pid for pid, line in inside(jail, LIST).items() if "sleep 60" in line)
        assert inside(jail, "say(attempt(os.kill, int(sys.argv[1]), 9))", number) == "POSSIBLE"
        assert other.wait(patient(30)) == -signal.SIGKILL


@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
@pytest.mark.parametrize(("resource", "name"), [(7, "NOFILE"), (6, "NPROC"), (9, "AS"), (0, "CPU"), (1, "FSIZE")])
def test_limits_of_pid_1_are_no_weapon_against_the_host(level: Level, resource: int, name: str) -> None:
    """A program that may change the limits of PID 1 hurts its own jail: the next call ends, in whatever way."""
    code = """
    low = (ctypes.c_uint64 * 2)(0, 0)
    say(call("prlimit", 1, int(sys.argv[1]), ctypes.addressof(low), 0))
    """
    del name
    with Jail(level=level) as jail:
        attack = jail.run(program(code, str(resource)), timeout=patient(60))
        # Where PID 1 has used up the second that is left of RLIMIT_CPU, it dies before the attacker has said so.
        assert attack.ok or attack.reason is ExitReason.LOST, str(attack)
        for _ in range(3):
            with contextlib.suppress(jailkit.ClosedError, jailkit.LaunchError):
                result = jail.run(["/bin/true"], timeout=patient(30))
                # Done, killed or lost: WALL_TIME would mean that PID 1 does not answer any more.
                assert result.reason is not ExitReason.WALL_TIME
    assert jailkit.run(["/bin/true"]).ok


def test_what_a_program_leaves_behind_ends_with_it(jail: Jail) -> None:
    """Twice forked, in a session of its own, its parent gone; still it ends when the program does."""
    script = "setsid sh -c 'sleep 3600.5 & sleep 3600.5' >/dev/null 2>&1 & sleep 3600.5 & echo started"
    for _ in range(3):
        result = jail.run(["sh", "-c", script])
        assert (result.ok, result.stdout) == (True, b"started\n")
    assert not [line for line in inside(jail, LIST).values() if "3600.5" in line]


def test_a_detached_program_leaves_its_children_to_the_jail(jail: Jail) -> None:
    """With detach=True they live on, until the jail is closed: the fixture that watches sees that they are gone."""
    assert jail.run(["sh", "-c", "sleep 3600.5 & :"], detach=True).ok
    assert len([line for line in inside(jail, LIST).values() if "3600.5" in line]) == 1
    jail.close()


LIVING = """for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done | grep -o 'sleep 3600\\.[0-9]*' | sort"""


def living(jail: Jail) -> list[str]:
    """The sleepers of a jail, as a program of it sees them."""
    return [line.decode() for line in jail.run(["sh", "-c", LIVING]).stdout.splitlines()]


def test_a_program_ends_with_its_own_whoever_came_before_it(jail: Jail) -> None:
    """Nobody else's children: neither what an earlier one has left with detach, nor a program that runs beside it."""
    for _ in range(3):  # each leaves its mark to the next, since nobody else has it
        assert jail.run(["true"]).ok
    assert jail.run(["sh", "-c", "sleep 3600.1 & :"], detach=True).ok
    assert jail.run(["sh", "-c", "(setsid sleep 3600.2 &) ; :"]).ok
    assert living(jail) == ["sleep 3600.1"]
    with jail.popen(["sleep", "3600.3"]) as beside:
        assert jail.run(["sh", "-c", "(setsid sleep 3600.4 &) ; :"]).ok
        slow = jail.run(["sh", "-c", "(setsid sleep 3600.5 &) ; sleep 3600.6"], timeout=0.2)
        assert slow.reason is ExitReason.WALL_TIME
        assert living(jail) == ["sleep 3600.1", "sleep 3600.3"]
        beside.kill()
    assert jail.run(["sh", "-c", "(setsid sleep 3600.7 &) ; :"]).ok
    assert living(jail) == ["sleep 3600.1"]


@pytest.mark.parametrize("level", list(Level))
def test_leftovers_in_namespaces_of_their_own_end_too(level: Level) -> None:
    """A user namespace inside would hide them from PID 1: there is none to be had, at any level above CHROOT."""
    with Jail(level=level) as jail:
        jail.run(
            [
                "sh",
                "-c",
                "exec >/dev/null 2>&1; unshare -UrC sleep 3600.5 & unshare -Ur --fork sleep 3600.5 & sleep 0.1",
            ]
        )
        assert not [line for line in inside(jail, LIST).values() if "3600.5" in line]
