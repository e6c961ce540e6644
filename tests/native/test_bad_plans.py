"""What reads plans and requests believes none of their numbers."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import jailkit
from jailkit import Jail, JailSpec, _native
from jailkit._launch import blueprint
from jailkit.plan import prepare
from jailkit.spec import Command
from tests.patience import patient

pytestmark = [pytest.mark.requires("userns"), pytest.mark.timeout(180)]

BOUNDED = settings(max_examples=60)
HEADER = struct.Struct("<IIII")
SOON = patient(20)


def hear_all(plan: bytes) -> _native.Report | None:
    """Start jailkit-init with a plan; return the report that ends the start, or None where it just ended."""
    jail = _native.Jail()
    jail.start(os.fsencode(_native.INIT_PATH), plan, None)
    try:
        while True:
            try:
                report = jail.hear(SOON)
            except InterruptedError:
                continue
            if report is None or report.kind is not _native.ReportKind.BORN:
                return report
    finally:
        jail.end(SOON)


def encoded() -> bytes:
    """Return a plan that is right."""
    return blueprint(JailSpec()).encoded


def refused(plan: bytes) -> None:
    """See that a plan is refused before its first step."""
    report = hear_all(plan)
    assert report is not None
    assert (report.kind, report.step, report.error) == (_native.ReportKind.FAILED, -1, errno.EINVAL)


# Only plans that have to be refused are made here. A wrong plan that is accepted is carried out, with all the rights of
# whoever runs the tests: never change the number or the arguments of a step in any other way than out of bounds.


@BOUNDED
@given(st.binary(min_size=1, max_size=4096))
@example(b"\0" * 16)
@example(HEADER.pack(_native.constant("JK_ABI"), 16, 0xFFFFFFFF, 0xFFFFFFFF))
def test_random_bytes_are_no_plan(data: bytes) -> None:
    """Nothing of them is carried out."""
    abi, size = HEADER.unpack(data[:16].ljust(16, b"\0"))[:2]
    if (abi, size) == (_native.constant("JK_ABI"), len(data)):
        data = b"\xff" + data[1:]
    refused(data)


@BOUNDED
@given(st.data())
def test_a_plan_that_is_cut_short_or_too_long(data: st.DataObject) -> None:
    """At every length but the right one."""
    plan = encoded()
    length = data.draw(st.integers(1, 2 * len(plan)).filter(lambda number: number != len(plan)))
    refused(plan[:length].ljust(length, b"\0"))


@BOUNDED
@given(st.sampled_from(["abi", "size", "host_steps", "jail_steps"]), st.integers(0, 2**32 - 1))
def test_a_header_with_a_wrong_number(field: str, number: int) -> None:
    """More steps than fit, another size, another version."""
    plan = encoded()
    fields = dict(zip(("abi", "size", "host_steps", "jail_steps"), HEADER.unpack(plan[:16]), strict=True))
    if field.endswith("steps"):
        number = max(number, len(plan))  # fewer steps are a plan, if not this one
    if fields[field] == number:
        number ^= 1
    refused(HEADER.pack(*{**fields, field: number}.values()) + plan[16:])


STEP = struct.Struct("<IIiI8B6Q")


@BOUNDED
@given(st.data())
def test_a_step_that_points_outside(data: st.DataObject) -> None:
    """Bytes outside the plan, descriptors outside the table, kinds and steps that do not exist."""
    plan = bytearray(encoded())
    count = sum(HEADER.unpack(plan[:16])[2:])
    at = 16 + STEP.size * data.draw(st.integers(0, count - 1))
    words = list(STEP.unpack_from(plan, at))
    what = data.draw(st.sampled_from(["op", "slot", "kind", "text", "slot argument"]))
    argument = data.draw(st.integers(0, 5))
    if what == "op":
        words[0] = data.draw(st.integers(200, 2**32 - 1) | st.just(0))
    elif what == "slot":
        words[2] = data.draw(st.integers(_native.constant("JK_SLOTS"), 2**31 - 1) | st.integers(-(2**31), -2))
    elif what == "kind":
        words[4 + argument] = data.draw(st.integers(3, 255))
    elif what == "text":
        words[4 + argument] = _native.constant("JK_TEXT")
        words[12 + argument] = data.draw(st.integers(len(plan), 2**64 - 1))
    else:
        words[4 + argument] = _native.constant("JK_SLOT")
        words[12 + argument] = data.draw(st.integers(_native.constant("JK_SLOTS"), 2**64 - 1))
    STEP.pack_into(plan, at, *words)
    refused(bytes(plan))


def test_a_plan_whose_last_text_has_no_end() -> None:
    """Every text is read up to its NUL, and the last byte of a plan is one."""
    refused(encoded()[:-1] + b"x")


def test_too_many_descriptors_are_an_error_of_the_encoder() -> None:
    """It is said before anything is started."""
    from jailkit.plan import Step

    steps = [Step(op="open_tree", why="", slot=f"slot {n}", path="/") for n in range(_native.constant("JK_SLOTS") + 1)]
    assert _native.encode_plan(steps[:-1], ())
    with pytest.raises(ValueError, match="descriptors"):
        _native.encode_plan(steps, ())


# --- requests ------------------------------------------------------------------------------------------------------


def request(argv: list[str]) -> bytes:
    """Return the request for a program, with the right numbers."""
    made = blueprint(JailSpec())
    program = prepare(Command(argv), made.spec, made.plan, made.host)
    return _native.encode_request(program, (True, True, True), merge=False)


def ask(jail: Jail, data: bytes, *, stdio: tuple[int, int, int] = (_native.NULL,) * 3, watched: bool = False) -> Any:
    """Send bytes to PID 1 as a request; return the report that answers it, or None where PID 1 lets go of it."""
    assert jail._live is not None
    run = _native.Run()
    try:
        run.submit(jail._live._jail.ctl, data, stdio, watched=watched)
        done = _native.Event.REPORT | _native.Event.LOST
        for _ in range(200):
            if run.talk(0.1) & done:
                return run.report
        raise AssertionError("no answer")
    finally:
        run.close()


def lives_or_has_ended(jail: Jail) -> bool:
    """See that a jail works, or says that it does not; return which."""
    with contextlib.suppress(jailkit.ClosedError):
        result = jail.run(["echo", "alive"], timeout=SOON)
        assert result.reason in (jailkit.ExitReason.EXITED, jailkit.ExitReason.LOST)
        return bool(result.stdout == b"alive\n")
    return False


def test_a_right_request_is_answered() -> None:
    """The control of what follows."""
    with Jail() as jail:
        report = ask(jail, request(["/bin/true"]))
        assert (report.kind, report.status) == (_native.ReportKind.EXITED, 0)
        assert lives_or_has_ended(jail)


@settings(max_examples=150)
@given(st.data())
def test_a_changed_request_ends_nothing_but_itself(data: st.DataObject) -> None:
    """Any byte of its header and any length: an answer, or a jail that has ended and says so; no hang, no leftover."""
    right = bytearray(request(["/bin/true"]))
    head = 176
    with Jail() as jail:
        for _ in range(data.draw(st.integers(1, 6))):
            changed = bytearray(right)
            for _ in range(data.draw(st.integers(1, 3))):
                offset = data.draw(st.integers(0, head // 4 - 1)) * 4
                struct.pack_into("<I", changed, offset, data.draw(st.integers(0, 2**32 - 1) | st.integers(0, 64)))
            length = data.draw(st.just(len(changed)) | st.integers(1, len(changed) + 100))
            try:
                ask(jail, bytes(changed[:length]).ljust(length, b"x"))
            except OSError as error:
                assert error.errno in (errno.EPIPE, errno.ECONNRESET, errno.EINVAL, errno.EMSGSIZE)  # noqa: PT017 - it need not fail
                break
        lives_or_has_ended(jail)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:10],
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: b"\xff" * len(data),
        lambda data: data[:-1] + b"x",
    ],
    ids=["a few bytes", "one too few", "more than it says", "nonsense", "no end"],
)
def test_a_malformed_request_is_refused_and_the_jail_lives_on(change: Any) -> None:
    """The next program runs."""
    with Jail() as jail:
        for _ in range(5):
            report = ask(jail, change(request(["/bin/true"])))
            assert report is None or report.kind is _native.ReportKind.FAILED
            assert lives_or_has_ended(jail)


def test_more_programs_than_there_are_places() -> None:
    """The one too many is told so, and the others are not disturbed."""
    with Jail(limits=jailkit.Limits(processes=2000)) as jail:
        held: list[jailkit.Process] = []
        try:
            with pytest.raises(jailkit.LaunchError) as caught:  # noqa: PT012 - which of them fails is the machine's choice
                for _ in range(_native.constant("JK_RUNS") + 1):
                    held.append(jail.popen(["sleep", "3600"], stdout=None, stderr=None))  # noqa: PERF401 - it ends with an error
            assert caught.value.errno in (errno.EAGAIN, errno.EMFILE)
            with held.pop() as last:
                last.kill()
            assert lives_or_has_ended(jail)
            assert {process.poll() for process in held} == {None}
        finally:
            jail.close()
            for process in held:
                process.close()
