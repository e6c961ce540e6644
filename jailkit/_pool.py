"""`JailPool`: jails that stand ready before anybody asks."""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Unpack, final

from jailkit._errors import ClosedError, CommandNotExecutable, JailkitError, SpecError
from jailkit._jail import Jail
from jailkit._options import RunOptions
from jailkit.process import Result
from jailkit.spec import JailSpec

__all__ = ["JailPool"]

_HEAD_START = 0.002
"""Seconds that whoever has just taken a jail gets before the next one is built beside him: about one launch."""

_CLOSE_SECONDS = 90.0
"""How long `close` waits for a jail that is just being built; longer than that may take."""


class _Stock:
    """The jails that wait, and the thread that sees to it that there are some.

    It knows nothing of the pool, so that a pool that nobody holds any more can be collected, and drained.
    """

    def __init__(self, spec: JailSpec, size: int) -> None:
        self.spec, self.size, self.owner = spec, size, os.getpid()
        self.ready: collections.deque[Jail] = collections.deque()
        self._spent: collections.deque[Jail] = collections.deque()
        self._change = threading.Condition()
        self.closed = False
        self._failed = False  # the host builds no jail now: whoever asks next is told why, by trying himself
        self._thread = threading.Thread(target=self._work, name="jailkit-pool", daemon=True)

    def open(self) -> None:
        """Build the first jail here and now, so that what cannot work is an error at once; the others follow."""
        self.ready.append(_warm(self.spec))
        self._thread.start()

    def take(self) -> Jail | None:
        """Return a jail that has waited and lives, or None when there is none."""
        if self.owner != os.getpid():  # before the lock, which may be held by a thread that does not exist here
            raise ClosedError("this pool belongs to the process that this one was forked from")
        with self._change:
            if self.closed:
                raise ClosedError("this pool is closed")
            self._failed = False
            self._change.notify_all()
            while self.ready:
                jail = self.ready.popleft()
                if jail.alive:
                    return jail
                self._spent.append(jail)
        return None

    def throw_away(self, jail: Jail) -> None:
        """Have a jail closed in the background; here, when too many are waiting for that already."""
        with self._change:
            if not self.closed and len(self._spent) < self.size:
                self._spent.append(jail)
                self._change.notify_all()
                return
        jail.close()

    def _work(self) -> None:
        while self._wait_for_work():
            try:
                self._build() if len(self.ready) < self.size and not self._failed else self._spent.popleft().close()
            except (JailkitError, OSError):
                self._failed = True

    def _wait_for_work(self) -> bool:
        with self._change:
            self._change.wait_for(
                lambda: self.closed or self._spent or (len(self.ready) < self.size and not self._failed)
            )
            return not self.closed

    def _build(self) -> None:
        with self._change:
            if len(self.ready) > self.size // 2:
                self._change.wait_for(lambda: self.closed, _HEAD_START)
        jail = _warm(self.spec)
        with self._change:
            self.ready.append(jail)
            self._change.notify_all()

    def wait_full(self, timeout: float | None) -> bool:
        with self._change:
            return self._change.wait_for(lambda: self.closed or len(self.ready) >= self.size, timeout)

    def close(self) -> None:
        if self.owner != os.getpid():
            return
        with self._change:
            self.closed = True
            self._change.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_SECONDS)
        for jail in (*self.ready, *self._spent):
            jail.close()
        self.ready.clear()
        self._spent.clear()


def _warm(spec: JailSpec) -> Jail:
    """Build a jail, and ask it for what is no program: the kernel then has made what a launch needs the first time."""
    jail = Jail.from_spec(spec).start()
    try:
        jail.run(["/."])
    except CommandNotExecutable:
        return jail
    except BaseException:
        jail.close()
        raise
    return jail


@final
class JailPool:
    r"""Jails that are built ahead, each used once and thrown away.

    A program in a jail of the pool finds what it would find in a jail of its own, at the price of a program in a jail
    that stands already: building and taking away happen in a thread of the pool. A jail is never used twice, so
    nothing that one program leaves is seen by the next.

    Can be used from any number of threads. Who asks while no jail is ready builds one himself, so the pool bounds how
    many jails wait (`size`, and as many again that are being taken away), not how many are in use. A jail that dies
    while it waits is replaced. After a fork, the pool is of no use to the child. What waits costs about 60 KiB of
    memory each, and holds what its spec claims, such as a range of user ids.

    Args:
        spec: What each jail is like. Default: that of ``Jail()``.
        size: How many jails to keep ready, at least 1.

    Raises:
        SpecError: `size` is no number of jails.
        UnsupportedError: This host cannot give what the spec asks for.
        LaunchError: A jail could not be built.

    >>> with JailPool(size=2) as pool:
    ...     pool.run(["echo", "hello"]).stdout
    b'hello\n'
    """

    def __init__(self, spec: JailSpec | None = None, *, size: int = 4) -> None:
        if type(size) is not int or size < 1:
            raise SpecError("size", size, "a number of jails, 1 or more")
        self._stock = _Stock(JailSpec() if spec is None else spec, size)
        self._stock.open()
        self._drain = weakref.finalize(self, self._stock.close)

    @property
    def spec(self) -> JailSpec:
        """What each jail is like."""
        return self._stock.spec

    @property
    def ready(self) -> int:
        """How many jails stand ready at this moment."""
        return len(self._stock.ready)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._stock.closed

    def wait_full(self, timeout: float | None = None) -> bool:
        """Wait until as many jails stand ready as the pool keeps; return whether they do.

        Args:
            timeout: Seconds. Default: for ever, which is long where the host builds no jails any more.
        """
        return self._stock.wait_full(timeout)

    def run(self, argv: Sequence[str | bytes | os.PathLike[str]], **options: Unpack[RunOptions]) -> Result[Any]:
        """Run one program in a jail of its own, and throw the jail away.

        When it returns, everything that the program has started is dead; what is left of the jail is taken away in the
        background. Arguments, result and errors are those of `Jail.run`. With `detach`, what the program leaves
        behind dies with the jail, which is at once.

        Raises:
            ClosedError: The pool is closed.
            JailkitError: Each of the errors of `Jail.start` and `Jail.run`.
        """
        while True:
            waited = self._stock.take()
            jail = waited or Jail.from_spec(self.spec).start()
            try:
                result = jail.run(argv, **options)
            except BaseException as error:
                jail.close()
                if waited and isinstance(error, ClosedError):
                    continue  # it died after the look at it and before the program was asked for
                raise
            self._stock.throw_away(jail)
            return result

    @contextlib.contextmanager
    def jail(self) -> Iterator[Jail]:
        """Lend a jail for a ``with`` block; at its end it is closed, and gone.

        Raises:
            ClosedError: The pool is closed.
            JailkitError: None was ready, and one of the errors of `Jail.start` came.
        """
        with contextlib.closing(self._stock.take() or Jail.from_spec(self.spec).start()) as jail:
            yield jail

    def close(self) -> None:
        """Take away all jails that wait. Closing twice is fine; jails that are in use go on to their own end."""
        self._drain()

    def __enter__(self) -> JailPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.ready} of {self._stock.size} ready"
        return f"<jailkit.JailPool {self.spec.level.name}, {state}>"
