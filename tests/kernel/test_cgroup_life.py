"""Control groups from their making to their end: nothing is left, and what runs can be changed, stopped and watched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

import jailkit
from jailkit import EventKind, ExitReason, Jail, JailEvent, KiB, Limits, MiB
from tests import facts, leaks
from tests.inside import inside, program
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")
grouped = pytest.mark.requires("cgroups")
"""What is left without this mark holds where there is no control group too."""


def groups() -> set[leaks.Thing]:
    """Return the control groups that this process has made."""
    return {thing for thing in leaks.snapshot() if thing[0] == "control group"}


def eventually(true: Callable[[], bool], seconds: float = 50) -> bool:
    """Wait until something is true, within a bound."""
    deadline = time.monotonic() + patient(seconds)
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


FORK_BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
THREAD_BOMB = """
import threading, time
threading.stack_size(65536)
def work():
    time.sleep(1000)
while True:
    try:
        threading.Thread(target=work).start()
    except RuntimeError:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("bomb", [FORK_BOMB, THREAD_BOMB], ids=["processes", "threads"])
@pytest.mark.parametrize("alone", [True, False], ids=["once", "live"])
def test_a_bomb_at_its_limit_is_dead_and_gone(bomb: str, alone: bool) -> None:
    """Not one process is left of it, and no control group; the jail and the host go on."""
    limits = Limits(processes=60, wall_seconds=2, cpu_seconds=1000)
    before = groups()
    if alone:
        result = jailkit.run(program(bomb), limits=limits)
    else:
        with Jail(limits=limits) as jail:
            result = jail.run(program(bomb))
            assert jail.run(["true"]).ok
    assert result.reason is ExitReason.WALL_TIME
    assert groups() == before
    peak = result.usage.processes_peak
    assert peak is None or peak <= 61


@grouped
@pytest.mark.many
@pytest.mark.timeout(240)
def test_200_jails_leave_no_group() -> None:
    """Made and removed in a row, half of them with a program that has a group of its own."""
    before = groups()
    for number in range(200):
        if number % 2:
            assert jailkit.run(["true"], limits=Limits(memory=64 * MiB, processes=20)).ok
        else:
            with Jail(limits=Limits(memory=64 * MiB)) as jail:
                assert jail.run(["true"], limits=Limits(memory=32 * MiB)).ok
    assert groups() == before


@grouped
def test_a_group_goes_with_a_host_program_that_is_killed() -> None:
    """Nobody is left to remove it but what was started for that; within moments there is no group with its number."""
    code = (
        "import jailkit, os, time\n"
        "jail = jailkit.Jail(limits=jailkit.Limits(memory=64 << 20)).start()\n"
        "p = jail.popen(['sleep', '1000'], limits=jailkit.Limits(memory=32 << 20))\n"
        "print(os.getpid(), flush=True); time.sleep(1000)"
    )
    before = leaks.children()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        mine = f"jailkit-{pid}-"
        assert [thing for thing in groups() if mine in thing[1]]
        host.kill()
    assert eventually(lambda: not [thing for thing in groups() if mine in thing[1]])
    leaks.reap(keep=before)


@grouped
def test_limits_change_while_a_program_runs() -> None:
    """Twice as much memory lets the same program through, in the same jail; less stops it again."""
    taken = program("kept = [b'x' * (1 << 20) for _ in range(64)]; print('POSSIBLE')")
    with Jail(limits=Limits(memory=32 * MiB, processes=20, wall_seconds=100)) as jail:
        assert jail.run(taken).reason is ExitReason.MEMORY
        jail.modify(limits=Limits(memory=256 * MiB))
        assert jail.limits.memory == 256 * MiB
        assert jail.run(taken).stdout == b"POSSIBLE\n"
        jail.limits = Limits(memory=40 * MiB, open_files=50)
        assert jail.run(taken).reason is ExitReason.MEMORY
        assert inside(jail, "import resource; say(resource.getrlimit(resource.RLIMIT_NOFILE)[0])") == 50
        state = {item.name: item.fact for item in jail.isolation}["limit: memory"]
        assert state.startswith(str(40 * MiB))
        for wrong in (Limits(disk=MiB), Limits(read_bps=MiB)):
            with pytest.raises(jailkit.UnsupportedError):
                jail.modify(limits=wrong)
        assert jail.limits.memory == 40 * MiB


@grouped
def test_a_jail_that_is_not_started_yet_can_be_changed_too() -> None:
    """Then it is simply another spec."""
    jail = Jail(limits=Limits(memory=32 * MiB))
    jail.modify(limits=Limits(processes=9))
    assert (jail.limits.memory, jail.limits.processes) == (32 * MiB, 9)
    with jail:
        assert inside(jail, "import resource; say(resource.getrlimit(resource.RLIMIT_NPROC)[0])") in (9, 10)


COUNTER = """
import os, time
while True:
    with open("/tmp/count.new", "w") as file:
        file.write(str(time.monotonic_ns()))
    os.rename("/tmp/count.new", "/tmp/count")
    time.sleep(0.005)
"""


@grouped
def test_a_paused_jail_does_nothing() -> None:
    """Its programs stand still, those of another jail do not, and all of it goes on where it was."""
    limits = Limits(memory=64 * MiB)
    with (
        Jail(limits=limits) as jail,
        Jail(limits=limits) as other,
        jail.popen(program(COUNTER)) as counter,
        other.popen(program(COUNTER)) as control,
    ):
        assert eventually(lambda: _counted(jail) and _counted(other))
        jail.pause()
        # PID 1 of a paused jail answers nobody: what the program wrote is looked at from outside, by its memory.
        assert eventually(lambda: _at_rest(jail)), "the last moments before are counted when they are over"
        before = jail.usage().cpu, other.get("/tmp/count")
        time.sleep(0.3)
        assert eventually(lambda: other.get("/tmp/count") != before[1])
        assert jail.usage().cpu == before[0]
        jail.resume()
        seen = jail.get("/tmp/count")
        assert eventually(lambda: jail.get("/tmp/count") != seen)
        counter.kill()
        control.kill()


def _at_rest(jail: Jail) -> bool:
    used = jail.usage().cpu
    time.sleep(0.1)
    return jail.usage().cpu == used


def _counted(jail: Jail) -> bool:
    try:
        return bool(jail.get("/tmp/count"))
    except OSError:
        return False


@grouped
def test_a_paused_jail_can_be_closed() -> None:
    """What stands still dies too, without having run again."""
    jail = Jail(limits=Limits(memory=64 * MiB)).start()
    sleeper = jail.popen(["sleep", "1000"])
    jail.pause()
    jail.close()
    assert sleeper.result().reason is ExitReason.KILLED
    sleeper.close()


@grouped
def test_a_live_jail_says_what_it_uses() -> None:
    """Memory, processes and processor time of everything in it, while it runs."""
    hold = "kept = b'x' * (40 << 20); print(flush=True); import time; time.sleep(1000)"
    with Jail(limits=Limits(memory=256 * MiB, processes=50, cpu_seconds=1000)) as jail:
        before = jail.usage()
        with jail.popen(program(hold)) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            now = jail.usage()
            assert now.memory is not None
            assert before.memory is not None
            assert now.memory - before.memory > 30 * MiB
            assert now.memory_peak is None or now.memory_peak >= now.memory - MiB
            assert now.processes == 2
            assert now.cpu > before.cpu
            assert now.wall > before.wall
            holder.kill()
        assert isinstance(jail.pressure(), dict)


@grouped
def test_events_of_a_jail() -> None:
    """Memory came near its bound, the kernel has killed, and nothing runs any more: each is told."""
    seen: list[JailEvent] = []
    lock = threading.Lock()

    def note(event: JailEvent) -> None:
        with lock:
            seen.append(event)

    # Far from half of it, though what the interpreter reads of its files is counted where nobody has read it before.
    with Jail(limits=Limits(memory=128 * MiB, wall_seconds=100)) as jail:
        jail.on_event(note, memory=0.5)
        assert jail.run(program("kept = b'x' * (4 << 20)")).ok
        assert eventually(lambda: [event.kind for event in seen] == [EventKind.EMPTY])
        assert jail.run(program("kept = [b'x' * (1 << 20) for _ in range(256)]")).reason is ExitReason.MEMORY
        wanted = {EventKind.MEMORY_THRESHOLD, EventKind.OUT_OF_MEMORY}
        assert eventually(lambda: {event.kind for event in seen} >= wanted)
    assert sum(event.count for event in seen if event.kind is EventKind.OUT_OF_MEMORY) >= 1
    with Jail(limits=Limits(memory=48 * MiB)) as quiet:
        count = len(seen)
        quiet.on_event(note)
    assert len(seen) == count


FULL = {
    "one large file": "open('/tmp/f', 'wb').write(b'x' * (16 << 20))",
    "many small files": "[open(f'/tmp/{n}', 'w').close() for n in range(100_000)]",
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_disk_is_the_reason_of_a_failure(kind: str) -> None:
    """The program sees ENOSPC and fails: DISK. A sparse file takes no room; a handled error is no failure."""
    limits = Limits(disk=4 * MiB, wall_seconds=200)
    with Jail(limits=limits) as jail:
        assert jail.run(program(FULL[kind])).reason is ExitReason.DISK
    with Jail(limits=limits) as jail:
        handled = f"try:\n    {FULL[kind]}\nexcept OSError:\n    print('full')"
        result = jail.run(program(handled))
        assert (result.reason, result.stdout) == (ExitReason.EXITED, b"full\n")
    sparse = "f = open('/tmp/sparse', 'wb'); f.truncate(512 << 20); raise SystemExit(3)"
    assert jailkit.run(program(sparse), limits=limits).reason is ExitReason.EXITED


def test_names_have_a_bound_of_their_own() -> None:
    """Fewer files than the bytes would allow."""
    code = "say(attempt(lambda: [open(f'/tmp/{n}', 'w').close() for n in range(500)]))"
    with Jail(limits=Limits(inodes=200)) as jail:
        assert inside(jail, code) == "ENOSPC"
    with Jail() as jail:
        assert inside(jail, code) == "POSSIBLE"


@pytest.mark.parametrize("streams", ["1", "2", "12"])
def test_a_flood_is_called_output(streams: str) -> None:
    """On either stream and on both, whatever else is true by then."""
    code = f"import os\nwhile True:\n    [os.write(int(n), b'x' * 65536) for n in '{streams}']"
    memory = 64 * MiB if facts.holds("cgroups") else None
    result = jailkit.run(program(code), limits=Limits(output=64 * KiB, memory=memory, wall_seconds=100))
    assert result.reason is ExitReason.OUTPUT
    assert len(result.stdout) + len(result.stderr) <= 64 * KiB


@pytest.mark.many
@pytest.mark.timeout(240)
def test_at_the_end_of_the_time_there_is_exactly_one_verdict() -> None:
    """200 programs that end at about the moment of their timeout: each ended by itself or was killed, never both."""
    seen = set()
    with Jail() as jail:
        for turn in range(200):
            result = jail.run(["sleep", "0.02"], timeout=0.018 + turn * 0.0001)
            assert (result.reason, result.returncode) in (
                (ExitReason.EXITED, 0),
                (ExitReason.WALL_TIME, -9),
                (ExitReason.WALL_TIME, 0),  # it was faster than the order to kill
            )
            seen.add(result.reason)
    assert ExitReason.WALL_TIME in seen


@pytest.mark.many
@pytest.mark.timeout(240)
def test_at_the_very_limit_of_output_there_is_exactly_one_verdict() -> None:
    """200 programs that write about as much as they may: all of it arrives, or else the reason is OUTPUT."""
    bound = 4 * KiB
    with Jail(limits=Limits(output=bound)) as jail:
        for size in range(bound - 100, bound + 100):
            result = jail.run(["head", "-c", str(size), "/dev/zero"])
            if size <= bound:
                assert (result.reason, result.returncode) == (ExitReason.EXITED, 0)
            else:
                assert result.reason is ExitReason.OUTPUT
            assert len(result.stdout) == min(size, bound)


COUNT = 'i=0; while [ $i -lt "$0" ]; do i=$((i+1)); done; echo done'


@grouped
@pytest.mark.many
@pytest.mark.timeout(240)
def test_at_the_end_of_the_processor_time_there_is_exactly_one_verdict() -> None:
    """200 programs that count a little farther each: each ended by itself, or was out of time, and nothing else."""
    seen = set()
    with Jail(limits=Limits(memory=64 * MiB, wall_seconds=100)) as jail:
        for turn in range(200):
            far = turn * turn if turn < 199 else 1 << 60
            result = jail.run(["sh", "-c", COUNT, str(far)], limits=Limits(cpu_seconds=0.01))
            assert (result.reason, result.returncode, result.stdout) in (
                (ExitReason.EXITED, 0, b"done\n"),
                (ExitReason.CPU_TIME, -9, b""),
                (ExitReason.CPU_TIME, -9, b"done\n"),  # it had said so, and was killed on its way out
                (ExitReason.CPU_TIME, 0, b"done\n"),  # it was faster than the order to kill
                (ExitReason.CPU_TIME, -24, b""),  # SIGXCPU, after a whole second in which the host did not come to look
            )
            seen.add(result.reason)
    assert ExitReason.CPU_TIME in seen


@grouped
@pytest.mark.requires("root")
def test_a_group_can_be_named() -> None:
    """The jail's is made in it, and it is left as it was."""
    made = jailkit.Jail(limits=Limits(memory=64 * MiB)).plan.group
    assert made is not None
    parent = f"{made.directories[0]}/jailkit-{os.getpid()}-named"
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split()[4] for line in file if " - cgroup" in line]
    top = max((mount for mount in mounts if parent.startswith(mount + "/")), key=len)
    os.mkdir(parent)
    try:
        if made.version == 2:
            with open(f"{parent}/cgroup.subtree_control", "w") as control:
                control.write("+memory +pids")
        with Jail(cgroup=parent.removeprefix(top), limits=Limits(memory=64 * MiB)) as jail:
            assert jail.run(["true"]).ok
            assert len([entry for entry in os.scandir(parent) if entry.is_dir()]) == 1
        assert not [entry for entry in os.scandir(parent) if entry.is_dir()]
    finally:
        os.rmdir(parent)
    with pytest.raises(jailkit.LaunchError, match="is gone"):
        Jail(cgroup=parent.removeprefix(top)).start()
    with pytest.raises(jailkit.UnsupportedError, match="not-there"):
        Jail(cgroup=f"{parent.removeprefix(top)}/not-there").start()
