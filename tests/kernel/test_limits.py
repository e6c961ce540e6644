"""Limits hold: of each process, of what a jail may write, of time."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from jailkit import ExitReason, Jail, KiB, Level, Limits, MiB
from tests.inside import inside
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")

READ_LIMITS = """
import resource
say({name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in sys.argv[1:]})
"""


def test_the_limits_of_the_spec_are_those_of_the_program(jail: Jail) -> None:
    """A limit of one run goes over the jail's, and the jail's over the level's."""
    asked = Limits(open_files=64, file_size=MiB, stack=4 * MiB, address_space=512 * MiB, cpu_seconds=30, core=0)
    with Jail(level=jail.spec.level, limits=asked) as made:
        names = ("NOFILE", "FSIZE", "STACK", "AS", "CPU", "CORE")
        found = inside(made, READ_LIMITS, *names)
        assert {name: soft for name, (soft, _) in found.items()} == {
            "NOFILE": 64, "FSIZE": MiB, "STACK": 4 * MiB, "AS": 512 * MiB, "CPU": 30, "CORE": 0
        }  # fmt: skip
        assert found["CPU"][1] == 31
        assert {name for name, (soft, hard) in found.items() if soft != hard} == {"CPU"}
        assert inside(made, READ_LIMITS, "NOFILE", limits=Limits(open_files=32))["NOFILE"] == [32, 32]


def test_a_sandbox_has_limits_that_nobody_asked_for(sandbox: Jail) -> None:
    """They are finite by default, and cannot be raised."""
    found = inside(sandbox, READ_LIMITS, "NOFILE", "FSIZE", "STACK", "CPU", "CORE", "NPROC")
    assert min(hard for _, hard in found.values()) >= 0
    code = """
    import resource
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        say("POSSIBLE")
    except ValueError:
        say("EPERM")
    """
    assert inside(sandbox, code) == "EPERM"


CASES: dict[str, tuple[Limits, str, Any]] = {
    "open_files": (
        Limits(open_files=32),
        "say(attempt(lambda: [os.dup(0) for _ in range(64)]))",
        "EMFILE",
    ),
    "processes": (
        Limits(processes=16),
        """
        def forks():
            for _ in range(64):
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
        say(attempt(forks))
        """,
        "EAGAIN",
    ),
    "file_size": (
        Limits(file_size=64 * KiB),
        """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def grow():
            with open("/tmp/big", "ab", buffering=0) as file:
                while file.tell() < 1 << 20:
                    file.write(b"x" * 4096)
        say(attempt(grow))
        """,
        "EFBIG",
    ),
    "address_space": (
        Limits(address_space=256 * MiB),
        """
        libc.mmap.restype = ctypes.c_long
        at = libc.mmap(None, ctypes.c_size_t(1 << 29), 3, 0x22, -1, 0)
        say("ENOMEM" if at == -1 else "POSSIBLE")
        """,
        "ENOMEM",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_limit_of_a_process_holds(name: str) -> None:
    """The program runs into it; without it, the same program does not."""
    limits, code, error = CASES[name]
    with Jail() as jail:
        assert inside(jail, code, limits=limits) == error
        assert inside(jail, code) == "POSSIBLE"


def test_the_same_process_limit_of_two_jails_is_not_shared() -> None:
    """RLIMIT_NPROC counts by user: a full jail takes nothing from the next, even for an ordinary user."""
    hold = (
        "import signal\n"
        "for _ in range(12):\n  if os.fork() == 0:\n    signal.pause()\nprint(flush=True); signal.pause()"
    )
    limits = Limits(processes=16)
    from tests.inside import program

    with Jail(limits=limits) as full, Jail(limits=limits) as empty, full.popen(program(hold)) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert inside(empty, "say(attempt(lambda: [os.fork() or os._exit(0) for _ in range(8)]))") == "POSSIBLE"
        holder.kill()


def test_processor_time_ends_a_program() -> None:
    """With reason CPU_TIME, whether it catches the signal or not; a sleeper uses none."""
    with Jail(limits=Limits(cpu_seconds=1)) as jail:
        for trap in ("", "trap '' XCPU; "):
            result = jail.run(["sh", "-c", f"{trap}while :; do :; done"], timeout=patient(50))
            assert result.reason is ExitReason.CPU_TIME
            assert result.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
            # The limit counts ticks, which on a busy machine are more than what was used; more than the clock, one
            # thread cannot use, however late it was noticed.
            assert 0.1 <= result.usage.cpu <= result.usage.wall + 1
        assert jail.run(["sh", "-c", "kill -XCPU $$"]).reason is ExitReason.SIGNALED


FILL = """
written, block = 0, b"x" * 65536
folders, answers = sys.argv[1:], []
for number in range(200):
    for folder in folders:
        try:
            with open(f"{folder}/{number}", "wb", buffering=0) as file:
                written += file.write(block)
        except OSError as error:
            answers.append(errno.errorcode[error.errno])
say([written, sorted(set(answers))])
"""


@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
def test_one_bound_holds_all_that_a_jail_writes(level: Level) -> None:
    """/tmp, the home and /dev/shm together: the program sees ENOSPC, the host nothing."""
    with Jail(level=level, limits=Limits(disk=4 * MiB)) as jail:
        written, answers = inside(jail, FILL, "/tmp", jail.spec.effective_user.home, "/dev/shm")
        assert answers == ["ENOSPC"]
        assert 3 * MiB <= written <= 4 * MiB
    with Jail(level=level, limits=Limits(disk=64 * MiB)) as jail:
        assert inside(jail, FILL, "/tmp", "/dev/shm") == [200 * 2 * 65536, []]


def test_the_bound_holds_for_names_too() -> None:
    """Empty files take memory as well."""
    code = "say(attempt(lambda: [open(f'/tmp/{n}', 'w').close() for n in range(200_000)]))"
    with Jail(limits=Limits(disk=4 * MiB)) as jail:
        assert inside(jail, code) == "ENOSPC"
