"""The clocks of all programs: one thread, and none when no clock runs."""

from __future__ import annotations

import os
import threading
import time
import warnings

from jailkit.process import alarm
from jailkit.process.alarm import call_at
from tests.patience import patient

BOUND = patient(30)


def clocks() -> list[threading.Thread]:
    """Return the threads of it."""
    return [thread for thread in threading.enumerate() if thread.name == "jailkit-clock"]


def no_clock() -> bool:
    """Wait until there is none."""
    deadline = time.monotonic() + BOUND
    while clocks() and time.monotonic() < deadline:
        time.sleep(0.005)
    return not clocks()


def test_calls_come_in_their_order_and_once() -> None:
    """Whatever the order in which they were asked for, and with the same time twice."""
    seen: list[int] = []
    done = threading.Event()
    for late in (0.0, 1.0):
        done.clear()
        seen.clear()
        now = time.monotonic() - late
        with alarm._clock._changed:  # none is made before all are asked for, however slow this is
            call_at(now + 0.04, done.set)
            for number, after in ((3, 0.03), (1, -1.0), (2, 0.02), (4, 0.03)):
                call_at(now + after, lambda number=number: seen.append(number))  # type: ignore[misc] # no types
            assert len(clocks()) == 1
        assert done.wait(BOUND)
        assert seen == [1, 2, 3, 4]
        assert no_clock()


def test_what_is_cancelled_is_not_called_and_holds_no_thread() -> None:
    """Also the last one, and again."""
    seen: list[int] = []
    alarms = [call_at(time.monotonic() + 3600, lambda: seen.append(1)) for _ in range(100)]
    for each in alarms:
        each.cancel()
        each.cancel()
    assert no_clock()
    assert seen == []


def test_a_child_process_has_a_clock_of_its_own() -> None:
    """The thread of the parent is not there, and what it waits for is the parent's."""
    other = call_at(time.monotonic() + 3600, lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 on: this process has threads, on purpose
        child = os.fork()
    if child == 0:
        done = threading.Event()
        call_at(time.monotonic(), done.set)
        os._exit(0 if done.wait(BOUND) and no_clock() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    other.cancel()
    assert no_clock()
