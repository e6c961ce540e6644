"""Processor time of everything that a program has started, however it hides; and time that nobody uses."""

from __future__ import annotations

import os

import pytest

import jailkit
from jailkit import ExitReason, Jail, Limits
from tests.inside import program
from tests.patience import at_last

pytestmark = pytest.mark.requires("userns", "python")
grouped = pytest.mark.requires("cgroups")
"""What is left without this mark holds where there is no control group too."""

BURN = "\nimport time\ndef burn():\n    while True:\n        pass\n"
BURNERS = {
    "alone": BURN + "burn()",
    "in threads": BURN
    + "import threading\nfor _ in range(3):\n    threading.Thread(target=burn, daemon=True).start()\n"
    + "time.sleep(1000)",
    "in children": BURN + "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        burn()\ntime.sleep(1000)",
    "in orphaned grandchildren": BURN
    + "import os\nfor _ in range(3):\n"
    + "    if os.fork() == 0:\n        os.setsid()\n"
    + "        if os.fork() == 0:\n            burn()\n        os._exit(0)\n"
    + "time.sleep(1000)",
    "in children that come and go": BURN
    + "import os\nwhile True:\n    if os.fork() == 0:\n        end = time.process_time() + 0.1\n"
    + "        while time.process_time() < end:\n            pass\n        os._exit(0)\n    os.wait()",
}


@grouped
@pytest.mark.parametrize("kind", BURNERS)
@pytest.mark.parametrize("alone", [True, False], ids=["once", "live"])
def test_processor_time_is_counted_wherever_it_is_used(kind: str, alone: bool) -> None:
    """Ended with reason CPU_TIME, and what is reported is what was used, of all of them together."""
    limits = Limits(cpu_seconds=1.5, wall_seconds=300)
    burner = program(BURNERS[kind])
    if alone:
        result = jailkit.run(burner, limits=limits)
    else:
        with Jail(limits=limits) as jail:
            result = jail.run(burner)
    assert result.reason is ExitReason.CPU_TIME
    assert result.usage.cpu_source == "cgroup"
    # As much as all processors could do meanwhile, and no more: how soon a busy host program notices is chance.
    # No less than half: the kernel's own clock counts ticks, and may be the first.
    assert 0.75 <= result.usage.cpu <= result.usage.wall * (os.cpu_count() or 1) + 1


@grouped
def test_programs_side_by_side_are_counted_apart() -> None:
    """Two programs of one jail use up their time each for itself; a third that sleeps has used none."""
    with (
        Jail(limits=Limits(cpu_seconds=1, wall_seconds=300)) as jail,
        jail.popen(["sleep", "1000"]) as sleeper,
        jail.popen(program(BURNERS["alone"])) as one,
        jail.popen(program(BURNERS["in children"])) as two,
    ):
        assert [process.result().reason for process in (one, two)] == [ExitReason.CPU_TIME] * 2
        assert sleeper.poll() is None
        sleeper.kill()
        assert sleeper.result().usage.cpu < 1


@pytest.mark.parametrize(
    "idle",
    [
        "import time; up(); time.sleep(1000)",
        "import os, signal; up(); os.kill(os.getpid(), signal.SIGSTOP)",
        "import signal; up(); signal.pause()",
        "import os; os.mkfifo('/tmp/f'); up(); open('/tmp/f')",
        "import ctypes, os; ctypes.CDLL(None).ptrace(0, 0, 0, 0); up(); os.kill(os.getpid(), 19)",
    ],
    ids=["sleeps", "is stopped", "waits for a signal", "waits for a fifo", "is traced and stopped"],
)
def test_who_uses_no_time_is_stopped_by_the_clock(idle: str) -> None:
    """Reason WALL_TIME, whatever it waits for, with hardly any processor time reported for the time that it waits."""
    up = "import time\ndef up():\n    print(time.process_time(), flush=True)\n"

    def timed_out(clock: float) -> bytes:
        result = jailkit.run(program(up + idle), limits=Limits(cpu_seconds=100), timeout=clock)
        assert result.reason is ExitReason.WALL_TIME
        if result.stdout:
            assert result.usage.cpu < float(result.stdout) + 0.5 * clock
        return bytes(result.stdout)

    assert at_last(timed_out, 1.5)


@grouped
def test_a_program_has_its_share_of_a_processor() -> None:
    """With a tenth of a processor, a quarter of a second of work takes two on the clock; the time lost is reported."""
    work = program("import time\nwhile time.process_time() < 0.25:\n    pass")
    result = jailkit.run(work, limits=Limits(cpus=0.1, wall_seconds=300))
    assert result.reason is ExitReason.EXITED
    # A bound from below: no slow machine makes it smaller.
    assert result.usage.wall > 1.9
    assert result.usage.throttled is not None
    # How much is chance on a machine that is so busy that nobody gets a tenth of a processor.
    assert result.usage.throttled > 0


@grouped
def test_a_jail_may_be_kept_to_some_processors() -> None:
    """It sees those and no others, and cannot take more."""
    first = min(os.sched_getaffinity(0))
    code = """
    import os
    print(sorted(os.sched_getaffinity(0)))
    try:
        os.sched_setaffinity(0, range(os.cpu_count()))
    except OSError:
        pass
    print(sorted(os.sched_getaffinity(0)))
    """
    result = jailkit.run(program(code), limits=Limits(cpuset=str(first)))
    assert result.stdout.decode().split("\n") == [f"[{first}]", f"[{first}]", ""]


@grouped
def test_what_is_measured_is_what_was_used() -> None:
    """A known load: no less than the program counted itself, and no more than one thread can have used.

    How much more is chance: the end of an interpreter is not in what the program can print.
    """
    known = "import time\nwhile time.process_time() < 1:\n    pass\nprint(time.process_time(), flush=True)"
    busy = jailkit.run(program(known), limits=Limits(cpu_seconds=50))
    assert busy.reason is ExitReason.EXITED
    assert 0.98 * float(busy.stdout) < busy.usage.cpu < busy.usage.wall + 1
