"""Tests judged ahead of their turn, on free processors, with results that are taken in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import final

from jailkit.grading._grade import TestResult
from jailkit.grading._model import Test

__all__ = ["Ahead"]


@final
class Ahead:
    """Calls a function for tests in several threads, and hands out the results one by one.

    What is judged ahead and then not asked for, because an earlier test ended the judging, is thrown away: so the
    number of workers changes how long it takes, and nothing else.

    Args:
        judge: Judges a test; called in any thread.
        tests: All tests, in their order.
        workers: How many at a time.
    """

    def __init__(self, judge: Callable[[Test], TestResult], tests: Sequence[Test], workers: int) -> None:
        self._judge = judge
        self._tests = tests
        self._places = {test.name: place for place, test in enumerate(tests)}
        self._workers = workers
        self._futures: dict[str, Future[TestResult]] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="jailkit-grading")

    def take(self, test: Test) -> TestResult:
        """Return the result of a test, and have the next ones begun."""
        place = self._places[test.name]
        for each in self._tests[place : place + self._workers]:
            if each.name not in self._futures:
                self._futures[each.name] = self._pool.submit(self._judge, each)
        return self._futures[test.name].result()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
