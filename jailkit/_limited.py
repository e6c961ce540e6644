"""What a jail has to do with limits: changing them, stopping, and being looked at while it runs."""

from __future__ import annotations

import abc
from collections.abc import Callable

import attrs

from jailkit._launch import Blueprint, modified
from jailkit.process import JailEvent, LiveJail, Pressure, Usage, jail_usage, parse_pressure
from jailkit.spec import UNLIMITED, JailSpec, Limits

__all__ = ["Limited"]


class Limited(abc.ABC):
    """The part of `Jail` that works on its control group.

    Attributes:
        spec: What was asked for.
    """

    spec: JailSpec
    _blueprint: Blueprint | None
    _live: LiveJail | None

    @property
    @abc.abstractmethod
    def _made(self) -> Blueprint: ...

    @abc.abstractmethod
    def _started(self) -> LiveJail: ...

    @property
    def limits(self) -> Limits:
        """What is in force for the jail and its next programs; assign, or use `modify`, to change it."""
        return self.spec.effective_limits

    @limits.setter
    def limits(self, changes: Limits) -> None:
        self.modify(limits=changes)

    def modify(self, *, limits: Limits) -> None:
        """Change limits while the jail runs; fields that are None stay as they are.

        What a control group keeps changes at once, for everything that runs. Everything else holds for programs that
        are started from now on. Of a jail that is not started yet, simply the spec changes.

        Raises:
            UnsupportedError: This jail cannot be given one of them while it runs; nothing was changed.
            LaunchError: The kernel refuses a value.
            ClosedError: The jail is closed.
        """
        if self._live is None:
            self.spec, self._blueprint = attrs.evolve(self.spec, limits=limits.over(self.spec.limits)), None
            return
        changed, settings = modified(self._made, limits)
        self._started().change(settings)
        self._blueprint, self.spec = changed, changed.spec

    def usage(self) -> Usage:
        """Return what everything in the live jail has used since its start, by the accounts of its control group.

        Raises:
            UnsupportedError: It has no control group.
            ClosedError: It is not started, or closed.
        """
        live = self._started()
        return jail_usage(live.ledger.group, live.began)

    def pressure(self) -> dict[str, Pressure]:
        """Return how long the jail waits for ``cpu``, ``memory`` and ``io``; empty where the kernel has no PSI for it.

        Only control groups of version 2 have it, on a kernel that was booted with PSI.
        """
        group = self._started().ledger.group
        return {name: parse_pressure(text) for name, text in group.pressure.items()} if group else {}

    def pause(self) -> None:
        """Stop everything in the jail until `resume`. Time limits go on; a jail that is closed meanwhile dies.

        Raises:
            UnsupportedError: The jail has no control group, or the host no freezer.
            TimeoutError: A process cannot be stopped: it is in uninterruptible sleep.
        """
        self._started().freeze(frozen=True)

    def resume(self) -> None:
        """Let everything go on that `pause` has stopped."""
        self._started().freeze(frozen=False)

    def on_event(self, callback: Callable[[JailEvent], object], *, memory: float = 0.9) -> None:
        """Have a function called when something happens to the live jail, see `EventKind`.

        It is called in a thread of its own, within about 0.1 s, and must not close the jail. Can be called again, for
        another function.

        Args:
            callback: Takes a `JailEvent`.
            memory: The share of `Limits.memory`, between 0 and 1, that is an event when it is first used.

        Raises:
            UnsupportedError: The jail has no control group that counts memory.
        """
        bound = self.limits.memory
        self._started().watch(callback, None if bound in (None, UNLIMITED) else memory * (bound or 0))
