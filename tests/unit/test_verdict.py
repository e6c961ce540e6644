"""How a program ended, from what the kernel and the clock say; and how much of what it wrote is kept."""

from __future__ import annotations

import errno
import itertools
import math
import os
import signal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit import _native
from jailkit._errors import CommandNotExecutable, CommandNotFound, LaunchError
from jailkit._native import Event, Report, ReportKind
from jailkit.plan import Protection, compile_plan, prepare
from jailkit.process import ExitReason, Result
from jailkit.process.failure import launch_error
from jailkit.process.talk import Captured, Talk
from jailkit.process.verdict import Account, judge
from jailkit.spec import Command, JailSpec
from tests.plans import user_host

ISOLATION = (Protection("files", "enforced", "a fact"),)
STEPS = {name: value for value, name in _native.enum_names("jk_program_step").items()}


def exited(code: int) -> int:
    """Return the status of a program that ended by itself, as wait4(2) gives it."""
    return code << 8


def report(status: int = 0, *, user: float = 0, system: float = 0, **fields: int) -> Report:
    """Return the report of a program's end; times in seconds."""
    numbers = dict.fromkeys(Report._fields[1:], 0)
    numbers |= {"scratch_bytes": 2**20, "scratch_names": 100}
    numbers |= {"status": status, "user_us": round(user * 1e6), "system_us": round(system * 1e6), **fields}
    return Report(ReportKind.EXITED, **numbers)


def verdict(seen: Report | None, host: ExitReason | None = None, cpu: float = math.inf, **fields: Any) -> Result[Any]:
    """Judge a program of which only these things are known."""
    command = Command(fields.pop("argv", ["x"]))
    program = prepare(command, JailSpec(), compile_plan(JailSpec(), user_host()), user_host())
    known = {"captured": Captured(math.inf), "text": False, "wall": 1.0, "isolation": ISOLATION, **fields}
    return judge(seen, attrs.evolve(program, cpu_seconds=cpu), host_verdict=host, **known)


HOST = (None, ExitReason.OUTPUT, ExitReason.WALL_TIME, ExitReason.KILLED)
STATUSES = (exited(0), exited(7), signal.SIGXCPU, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM | 0x80)
# Of 2 seconds: what wait4(2) reports lags behind the ticks that the limit counts, less for the kill, a second later.
ENOUGH = {signal.SIGXCPU: 1.0, signal.SIGKILL: 1.5}
TABLE = [*itertools.product(HOST, STATUSES, (0.2, 0.98, 1.0, 1.48, 1.5, 3.0))]


@pytest.mark.parametrize(("host", "status", "used"), TABLE)
def test_the_first_reason_that_is_true_is_the_reason(host: ExitReason | None, status: int, used: float) -> None:
    """What the host did, then what a limit did, then how the program ended; the docstring of ExitReason in a table."""
    result = verdict(report(status, user=used / 2, system=used / 2), host, cpu=2.0)
    by_limit = any(status == number and used >= least for number, least in ENOUGH.items())
    if host:
        expected = host
    elif by_limit:
        expected = ExitReason.CPU_TIME
    elif status & 0x7F:
        expected = ExitReason.SIGNALED
    else:
        expected = ExitReason.EXITED
    assert result.reason is expected
    assert result.returncode == (-(status & 0x7F) if status & 0x7F else status >> 8)
    assert result.ok == (expected is ExitReason.EXITED and status == 0)


@pytest.mark.parametrize(
    ("host", "expected"), [(None, ExitReason.LOST), *((reason, reason) for reason in HOST if reason)]
)
def test_without_a_report_pid1_was_killed(host: ExitReason | None, expected: ExitReason) -> None:
    """By the host, which knows why, or by somebody else: then nobody knows how the program ended."""
    result = verdict(None, host, cpu=0.5)
    assert result.reason is expected
    assert result.returncode == -signal.SIGKILL
    assert (result.usage.cpu, result.usage.memory_peak) == (0, None)
    assert result.usage.memory_source != "maxrss"
    assert not result.ok


@pytest.mark.parametrize("status", [signal.SIGXCPU, signal.SIGKILL])
def test_a_program_cannot_pretend_to_have_used_its_time(status: int) -> None:
    """It may send itself either signal: what counts is what the kernel measured, and there has to be a limit."""
    assert verdict(report(status, user=0.2), cpu=1.0).reason is ExitReason.SIGNALED
    assert verdict(report(status, user=10**6)).reason is ExitReason.SIGNALED
    assert verdict(report(exited(0), user=10), cpu=1.0).reason is ExitReason.EXITED


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40), st.floats(0, 1e9))
def test_usage_is_what_the_kernel_counted(user: int, system: int, kib: int, wall: float) -> None:
    """Microseconds become seconds and KiB become bytes; both times count against the limit."""
    usage = verdict(report(user_us=user, system_us=system, max_rss_kib=kib), wall=wall).usage
    assert (usage.cpu_user, usage.cpu_system, usage.wall) == (user / 1e6, system / 1e6, wall)
    assert usage.cpu == usage.cpu_user + usage.cpu_system
    assert (usage.memory_peak, usage.memory_source) == (kib * 1024, "maxrss")
    assert usage.processes_peak is None


def test_the_rest_is_passed_on() -> None:
    """Words, outputs and protections come from where they were."""
    for text, replaced in ((False, b"out\xff"), (True, "out\ufffd")):
        captured = Captured(4)
        captured.add(0, b"out\xff")
        result = verdict(report(exited(3)), argv=["a", "b"], captured=captured, text=text)
        assert (result.argv, result.stdout, result.truncated) == ((b"a", b"b"), replaced, False)
        assert type(result.stderr) is type(result.stdout)
        captured.add(1, b"e")
        assert verdict(report(exited(3)), captured=captured).truncated
        assert result.isolation == ISOLATION
        assert os.waitstatus_to_exitcode(exited(3)) == result.returncode == 3


# --- what it wrote --------------------------------------------------------------------------------------------------

WRITES = st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=20)), max_size=20)


@given(st.integers(0, 200), WRITES)
def test_the_host_does_not_grow_with_a_flood(bound: int, writes: list[tuple[int, bytes]]) -> None:
    """Of what comes over the bound, before the program is dead, no more is kept than a few buffers."""
    captured = Captured(bound)
    for _ in range(10):
        for index, data in writes:
            captured.add(index, data)
    largest = max((len(data) for _, data in writes), default=0)
    assert sum(len(kept.getvalue()) for kept in captured.kept) <= bound + 3 * largest


@given(st.integers(0, 200), WRITES)
def test_all_is_kept_or_head_and_tail(bound: int, writes: list[tuple[int, bytes]]) -> None:
    """Within the bound both streams are whole; over it each keeps its beginning and its end, together within it."""
    captured = Captured(bound)
    for index, data in writes:
        captured.add(index, data)
    total = sum(len(data) for _, data in writes)
    # Over the bound, late buffers may have been left out whole; never before it.
    whole = [kept.getvalue() for kept in captured.kept]
    if total <= bound:
        assert whole == [b"".join(data for index, data in writes if index == number) for number in (0, 1)]
    kept = [captured.contents(0), captured.contents(1)]
    assert captured.full == (total > bound)
    if total <= bound:
        assert kept == whole
        return
    # Each division into shares rounds down by less than one byte.
    assert bound - 2 < sum(map(len, kept)) <= bound
    for part, all_of_it in zip(kept, whole, strict=True):
        assert any(
            part == all_of_it[:head] + all_of_it[len(all_of_it) - (len(part) - head) :]
            for head in (len(part) // 2, len(part) - len(part) // 2)
        )


@given(WRITES)
def test_without_a_bound_everything_is_kept(writes: list[tuple[int, bytes]]) -> None:
    """UNLIMITED is infinite: nothing is cut and nothing is counted as too much."""
    captured = Captured(math.inf)
    for index, data in writes:
        captured.add(index, data)
    assert not captured.full
    assert captured.contents(1) == b"".join(data for index, data in writes if index == 1)


def test_head_and_tail_are_of_the_same_stream() -> None:
    """An example to look at: half of the room for the beginning, half for the end, shared by how much each wrote."""
    captured = Captured(8)
    captured.add(0, b"abcdefghijkl")
    captured.add(1, b"MNOP")
    assert (captured.contents(0), captured.contents(1)) == (b"abcjkl", b"MP")


class Ended:
    """As much of a `Run` as a conversation needs: it has ended at once, with these outputs and no answer to orders."""

    def __init__(self, *outputs: bytes, event: int = Event.REPORT) -> None:
        self.report = report(exited(0)) if event == Event.REPORT else None
        self.orders: list[int | None] = []
        self._event = event
        self._outputs = outputs

    def allow(self, size: int) -> None:
        """Take note of nothing."""

    def talk(self, timeout: float | None) -> int:
        """Return the end."""
        assert timeout is None or timeout > 0
        return self._event

    def take(self, number: int) -> bytes:
        """Return all of an output."""
        return self._outputs[number - 1]

    def order(self, number: int | None) -> None:
        """Remember an order."""
        self.orders.append(number)


def talked(run: Ended, bound: float, said: ExitReason | None = None) -> Talk:
    """Return the conversation with such a program, at its end."""
    talk = Talk(run=run, captured=Captured(bound), deadline=math.inf, kill_jail=lambda: None, verdict=said)  # type: ignore[arg-type]
    assert talk.advance()
    return talk


@pytest.mark.parametrize("event", [Event.REPORT, Event.LOST])
@pytest.mark.parametrize("outputs", [(b"abc", b""), (b"", b"abc"), (b"ab", b"c")])
def test_over_the_bound_is_over_the_bound_even_at_the_end(outputs: tuple[bytes, bytes], event: int) -> None:
    """A program that ended by itself before it could be killed wrote too much all the same; exactly all is not."""
    for bound, expected in ((2, ExitReason.OUTPUT), (3, None), (math.inf, None)):
        run = Ended(*outputs, event=event)
        talk = talked(run, bound)
        assert talk.verdict is expected
        result = verdict(talk.report, talk.verdict, captured=talk.captured)
        assert result.truncated == (expected is ExitReason.OUTPUT)
        assert result.ok == (expected is None and event == Event.REPORT)
        assert run.orders == [], "there is nobody left to kill"


@pytest.mark.parametrize("said", [ExitReason.WALL_TIME, ExitReason.KILLED])
def test_the_first_thing_that_the_host_did_stays_the_reason(said: ExitReason) -> None:
    """What it wrote until it was dead does not change why it was killed."""
    assert talked(Ended(b"abc", b""), 2, said).verdict is said


# --- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "waited", "cpu", "source"),
    [(None, 0.5, 0.5, "rusage"), (0.7, 0.5, 0.7, "cgroup"), (0.5, 0.50006, 0.50006, "cgroup")],
)
def test_accounts_of_a_group_are_of_everything(group: float | None, waited: float, cpu: float, source: str) -> None:
    """Also where wait4(2) has looked a moment later: the figure is the later one, and is still said to be of all."""
    account = Account(cpu=None if group is None else (group, 0.0))
    usage = verdict(report(user=waited), account=account).usage
    assert usage.cpu == pytest.approx(cpu)
    assert usage.cpu_source == source


# --- a program that never started -----------------------------------------------------------------------------------


def failed(step: str, error: int) -> LaunchError:
    """Return the error for a program that failed at this step."""
    seen = report(step=STEPS[step], error=error, phase=3)._replace(kind=ReportKind.FAILED)
    return launch_error(seen, (b"/bin/tool", b"x"))


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (errno.ENOENT, CommandNotFound),
        (errno.ENOTDIR, CommandNotFound),
        (errno.ELOOP, CommandNotFound),
        (errno.ENAMETOOLONG, CommandNotFound),
        (errno.EACCES, CommandNotExecutable),
        (errno.EPERM, CommandNotExecutable),
        (errno.ENOEXEC, CommandNotExecutable),
        (errno.EISDIR, CommandNotExecutable),
        (errno.ETXTBSY, CommandNotExecutable),
        (errno.ELIBBAD, CommandNotExecutable),
        (errno.EAGAIN, LaunchError),
        (errno.E2BIG, LaunchError),
        (errno.ENOMEM, LaunchError),
    ],
)
def test_an_exec_that_failed_is_one_of_three_errors(error: int, cls: type[LaunchError]) -> None:
    """Not there, there but not to be executed, or something else; with the program's name and the errno."""
    raised = failed("JK_AT_EXEC", error)
    assert type(raised) is cls
    assert (raised.errno, raised.filename, raised.phase) == (error, "/bin/tool", "program")
    assert "/bin/tool" in str(raised)
    assert errno.errorcode[error] in str(raised)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_only_exec_says_that_a_command_is_missing(step: str) -> None:
    """A working directory that is not there is no missing command; and every step has words of its own."""
    raised = failed(step, errno.ENOENT)
    assert type(raised) is (CommandNotFound if step == "JK_AT_EXEC" else LaunchError)
    assert raised.step == STEPS[step]
    others = {str(failed(name, errno.EIO)).split(":")[0].split(", ")[-1] for name in STEPS}
    assert len(others) == len(STEPS)
